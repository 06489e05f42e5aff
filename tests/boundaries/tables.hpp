/// \file
/// Tables in the documentation that do not render as such.
#pragma once

#include <string>
#include <vector>

namespace pantile::boundaries {

/// What is wrong with the tables of a Markdown text (GitHub's dialect), one message each, "line N: …"; empty if all is well:
///   - lines that begin with '|' are a table: a header, a delimiter row (| --- | -: |), then rows;
///   - every row has as many cells as the header. A '|' within `code` ends a cell, too, unless it is escaped.
/// Fenced code blocks are left out.
std::vector<std::string> table_faults(const std::string& text);

} // namespace pantile::boundaries
