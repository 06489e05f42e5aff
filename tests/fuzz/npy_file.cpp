// The .npy reader of tests/support/npy: any file is refused with an error that names it, or read as a second reader, below,
// reads it; and what was read is written and read again.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>
#include <regex>
#include <string_view>

#include <npy.hpp>

#include <support/scratch_folder.hpp>

#include "fuzz.hpp"

namespace pantile::fuzz {
namespace {

/// A file's content by a reader of its own, which knows one spelling of the header, the one that NumPy writes:
/// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } and blanks. Nothing for any other.
struct content {
    std::string descr;
    bool fortran = false;
    std::vector<std::int64_t> shape;
    std::string_view data;
};

bool take(std::string_view& text, std::string_view word) {
    if (text.substr(0, word.size()) != word) return false;
    text.remove_prefix(word.size());
    return true;
}

std::optional<content> read_strictly(std::string_view file) {
    content c;
    if (!take(file, std::string_view("\x93NUMPY\x01\x00", 8)) || file.size() < 2) return {};
    const std::size_t length = static_cast<unsigned char>(file[0]) + 256U * static_cast<unsigned char>(file[1]);
    if (file.size() < 2 + length) return {};
    std::string_view header = file.substr(2, length);
    c.data = file.substr(2 + length);
    if (!take(header, "{'descr': '")) return {};
    c.descr = header.substr(0, 3);
    header.remove_prefix(std::min<std::size_t>(header.size(), 3));
    if (!take(header, "', 'fortran_order': ")) return {};
    c.fortran = take(header, "True");
    if (!c.fortran && !take(header, "False")) return {};
    if (!take(header, ", 'shape': (")) return {};
    bool comma = false;
    while (!header.empty() && header[0] >= '0' && header[0] <= '9') {
        std::int64_t extent = 0;
        int digits = 0;
        for (; !header.empty() && header[0] >= '0' && header[0] <= '9'; header.remove_prefix(1)) {
            if (++digits > 9) return {}; // such arrays have no place here
            extent = 10 * extent + (header[0] - '0');
        }
        c.shape.push_back(extent);
        comma = take(header, ", ") || (c.shape.size() == 1 && take(header, ","));
        if (!comma) break;
    }
    if (c.shape.size() == 1 && !comma) return {}; // a number in brackets
    if (!take(header, "), }")) return {};
    return c;
}

/// Where element `n` of C order lies in the file: by its index, axis by axis.
std::size_t place_of(std::size_t n, const content& c) {
    if (!c.fortran) return n;
    std::size_t place = 0;
    std::size_t step = 1;
    for (const std::int64_t extent : c.shape) step *= static_cast<std::size_t>(extent);
    const std::size_t all = step;
    // The first axis is the slowest in C order and the fastest in Fortran order.
    std::size_t left = all;
    std::size_t fast = 1;
    for (const std::int64_t extent : c.shape) {
        left /= static_cast<std::size_t>(extent);
        place += n / left % static_cast<std::size_t>(extent) * fast;
        fast *= static_cast<std::size_t>(extent);
    }
    return place;
}

void hold(const content& c, const npy::array& a) {
    require(npy::descr(a.type) == c.descr, "npy: another type than the header's");
    require(a.shape == c.shape, "npy: another shape than the header's");
    const std::size_t size = npy::element_bytes(a.type);
    require(a.bytes.size() == c.data.size(), "npy: more or fewer bytes than the file's");
    for (std::size_t n = 0; n * size < c.data.size(); ++n) {
        require(std::memcmp(a.bytes.data() + n * size, c.data.data() + place_of(n, c) * size, size) == 0,
                "npy: an element lies elsewhere than the header says");
    }
}

/// Does the header hold a tuple of Python as its shape? "(3)" is a number in brackets, "12" none at all.
bool has_tuple(const std::string& header) {
    static const std::regex tuple(R"('shape'[^:]*: *(\( *\)|\( *\d+ *, *(\d+ *, *)*(\d+ *)?\)))");
    return std::regex_search(header, tuple);
}

bool is_served(const std::string& descr) {
    for (const char* served : {"<f4", "<f8", "<f2", "|b1", "<i8"}) {
        if (descr == served) return true;
    }
    return false;
}

/// Does the file hold exactly what its header promises? False as well where that would be a lot.
bool is_whole(const content& c) {
    if (!is_served(c.descr)) return false;
    double bytes = c.descr.back() - '0';
    if (c.descr == "|b1") bytes = 1;
    for (const std::int64_t extent : c.shape) bytes *= static_cast<double>(extent);
    return bytes == static_cast<double>(c.data.size());
}

} // namespace

void npy_file(std::span<const std::uint8_t> input) {
    static const test::scratch_folder folder;
    const std::filesystem::path path = folder / "any.npy";
    const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
    std::ofstream(path, std::ios::binary) << text;
    const std::optional<content> expected = read_strictly(text);
    npy::array a;
    try {
        a = npy::read(path);
    } catch (const npy::error& e) {
        require(std::string(e.what()).rfind(path.string() + ": ", 0) == 0,
                [&] { return std::string("npy: an error that does not name the file: ") + e.what(); });
        require(!expected || !is_whole(*expected), [&] { return std::string("npy: refused, but whole: ") + e.what(); });
        return;
    }
    if (expected) {
        require(is_whole(*expected), "npy: read, but not whole");
        hold(*expected, a);
    }
    require(text.size() > 300 || has_tuple(std::string(text)), "npy: a shape that is no tuple was read");
    require(std::find_if(a.shape.begin(), a.shape.end(), [](std::int64_t n) { return n < 0; }) == a.shape.end(),
            "npy: a negative extent");
    require(static_cast<std::size_t>(a.size()) * npy::element_bytes(a.type) == a.bytes.size(),
            "npy: the bytes are not the shape's");
    npy::write(path, a);
    const npy::array again = npy::read(path);
    require(again.type == a.type && again.shape == a.shape && again.bytes == a.bytes,
            "npy: another array after it was written and read");
}

} // namespace pantile::fuzz
