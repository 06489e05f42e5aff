/// \file
/// Which pantile this is. Everything public lives in the inline namespace pantile::v0: another major version's names are others.
#pragma once

#define PANTILE_VERSION_MAJOR 0
#define PANTILE_VERSION_MINOR 2
#define PANTILE_VERSION_PATCH 0
/// 10000 · major + 100 · minor + patch
#define PANTILE_VERSION (10000 * PANTILE_VERSION_MAJOR + 100 * PANTILE_VERSION_MINOR + PANTILE_VERSION_PATCH)
