/// \file
/// Reads and writes NumPy's .npy files (format 1.0, little-endian): float32, float64, float16, bool, int64. Arrays in
/// Fortran order are put into C order when they are read.
/// One header, standard library only, so that a program can be copied together with it.
/// Source of the format: NEP 1, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace npy {

static_assert(std::endian::native == std::endian::little, "npy.hpp copies bytes: it needs a little-endian machine");

/// A file that cannot be read, is not what it should be, or holds something that is not supported; the text names it.
class error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// What an element is. f2 is IEEE binary16, b1 one byte (0 or 1), i8 a 64-bit integer: NumPy counts bytes.
enum class type : unsigned char { f4, f8, f2, b1, i8 };

[[nodiscard]] inline const char* descr(type t) {
    switch (t) {
    case type::f4:
        return "<f4";
    case type::f8:
        return "<f8";
    case type::f2:
        return "<f2";
    case type::b1:
        return "|b1";
    case type::i8:
        return "<i8";
    }
    return "?";
}

[[nodiscard]] inline std::size_t element_bytes(type t) {
    switch (t) {
    case type::f4:
        return 4;
    case type::f8:
    case type::i8:
        return 8;
    case type::f2:
        return 2;
    case type::b1:
        return 1;
    }
    return 0;
}

/// Which C++ types hold which elements. A 16-bit storage type of one's own is read with `array::copy_bits`.
template <class T>
inline constexpr bool holds(type t) {
    if constexpr (std::is_same_v<T, float>) return t == type::f4;
    if constexpr (std::is_same_v<T, double>) return t == type::f8;
    if constexpr (std::is_same_v<T, std::int64_t>) return t == type::i8;
    if constexpr (std::is_same_v<T, unsigned char>) return t == type::b1;
    if constexpr (std::is_same_v<T, std::uint16_t>) return t == type::f2;
    return false;
}

/// An array in memory: shape, and the elements in C order.
struct array {
    npy::type type = npy::type::f4;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;

    [[nodiscard]] std::int64_t size() const {
        std::int64_t n = 1;
        for (const std::int64_t extent : shape) n *= extent;
        return n;
    }
    /// The elements as T: float (f4), double (f8), std::int64_t (i8), unsigned char (b1), std::uint16_t (bits of f2).
    /// Throws error if the file holds another type.
    template <class T>
    [[nodiscard]] std::vector<T> as() const {
        if (!holds<T>(type)) throw error(std::string("the array holds ") + descr(type) + ", not the type asked for");
        return copy_bits<T>();
    }
    /// The same for a type of the same size whose bits mean the same, such as a half-precision class.
    template <class T>
    [[nodiscard]] std::vector<T> copy_bits() const {
        static_assert(std::is_trivially_copyable_v<T>);
        if (sizeof(T) != element_bytes(type))
            throw error(std::string("elements of ") + descr(type) + " have another size");
        std::vector<T> out(static_cast<std::size_t>(size()));
        if (!out.empty()) std::memcpy(static_cast<void*>(out.data()), bytes.data(), bytes.size());
        return out;
    }
};

namespace detail {

/// The text between the value's start and its end in the header, a Python literal: {'descr': '<f4', 'shape': (2, 3), }
inline std::string_view value_of(std::string_view header, std::string_view key, const std::string& where) {
    const std::size_t at = header.find(std::string("'") + std::string(key) + "'");
    const std::size_t colon = at == std::string_view::npos ? at : header.find(':', at);
    if (colon == std::string_view::npos) throw error(where + ": the header has no '" + std::string(key) + "'");
    std::string_view rest = header.substr(colon + 1);
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const char closing = rest.empty() ? '\0' : rest.front() == '(' ? ')' : rest.front() == '\'' ? '\'' : ',';
    const std::size_t end = closing == '\0' ? std::string_view::npos : rest.find(closing, 1);
    if (end == std::string_view::npos) throw error(where + ": the value of '" + std::string(key) + "' does not end");
    return rest.substr(0, closing == ',' ? end : end + 1);
}

inline type type_of(std::string_view quoted, const std::string& where) {
    for (const type t : {type::f4, type::f8, type::f2, type::b1, type::i8}) {
        if (quoted == std::string("'") + descr(t) + "'") return t;
    }
    throw error(where + ": elements of type " + std::string(quoted) + "; served are <f4, <f8, <f2, |b1 and <i8");
}

inline std::vector<std::int64_t> shape_of(std::string_view tuple, const std::string& where) {
    std::vector<std::int64_t> shape;
    std::int64_t all = 1;
    const auto refuse = [&] { throw error(where + ": shape " + std::string(tuple) + " is not a tuple of numbers"); };
    if (tuple.front() != '(') refuse();
    bool separated = true; // a number may follow
    for (std::size_t i = 1; i + 1 < tuple.size();) {
        if (tuple[i] == ' ' || tuple[i] == ',') {
            if (tuple[i] == ',' && (shape.empty() || separated)) refuse();
            separated = separated || tuple[i] == ',';
            ++i;
            continue;
        }
        if (!separated) refuse();
        separated = false;
        std::int64_t extent = 0;
        const std::size_t first = i;
        for (; i < tuple.size() && tuple[i] >= '0' && tuple[i] <= '9'; ++i) {
            if (__builtin_mul_overflow(extent, std::int64_t{10}, &extent) ||
                __builtin_add_overflow(extent, std::int64_t{tuple[i] - '0'}, &extent)) {
                throw error(where + ": an extent of shape " + std::string(tuple) + " is too large");
            }
        }
        if (i == first) refuse();
        if (extent != 0 && __builtin_mul_overflow(all, extent, &all)) {
            throw error(where + ": shape " + std::string(tuple) + " has too many elements");
        }
        shape.push_back(extent);
    }
    if (shape.size() == 1 && !separated) refuse(); // "(3)" is a number
    return shape;
}

/// From Fortran order (the first axis varies fastest) to C order (the last one does).
inline void to_c_order(array& a) {
    const std::size_t bytes = element_bytes(a.type);
    const std::size_t rank = a.shape.size();
    std::vector<std::byte> sorted(a.bytes.size());
    std::vector<std::int64_t> index(rank, 0);
    for (std::size_t to = 0; to < sorted.size(); to += bytes) {
        std::int64_t from = 0;
        for (std::size_t axis = rank; axis-- > 0;) from = from * a.shape[axis] + index[axis];
        std::memcpy(sorted.data() + to, a.bytes.data() + static_cast<std::size_t>(from) * bytes, bytes);
        for (std::size_t axis = rank; axis-- > 0 && ++index[axis] == a.shape[axis];) index[axis] = 0;
    }
    a.bytes = std::move(sorted);
}

} // namespace detail

/// Reads a file. Throws error, naming the file and what is wrong with it.
[[nodiscard]] inline array read(const std::filesystem::path& path) {
    const std::string where = path.string();
    std::ifstream file(path, std::ios::binary);
    if (!file) throw error(where + ": cannot be opened");

    unsigned char start[10] = {};
    file.read(reinterpret_cast<char*>(start), sizeof start);
    if (!file || std::memcmp(start, "\x93NUMPY", 6) != 0) throw error(where + ": is not a .npy file");
    if (start[6] != 1 || start[7] != 0) {
        throw error(where + ": is format " + std::to_string(start[6]) + "." + std::to_string(start[7]) +
                    ", read is 1.0");
    }
    std::string header(static_cast<std::size_t>(start[8] | start[9] << 8), '\0');
    file.read(header.data(), static_cast<std::streamsize>(header.size()));
    if (!file) throw error(where + ": ends inside its header");
    const std::string_view order = detail::value_of(header, "fortran_order", where);
    if (order != "False" && order != "True") throw error(where + ": fortran_order is " + std::string(order));

    array out;
    out.type = detail::type_of(detail::value_of(header, "descr", where), where);
    out.shape = detail::shape_of(detail::value_of(header, "shape", where), where);
    const auto data_begin = static_cast<std::uintmax_t>(file.tellg());
    const std::uintmax_t present = std::filesystem::file_size(path) - data_begin;
    std::int64_t wanted = 0;
    if (__builtin_mul_overflow(out.size(), static_cast<std::int64_t>(element_bytes(out.type)), &wanted) ||
        static_cast<std::uintmax_t>(wanted) != present) {
        throw error(where + ": holds " + std::to_string(present) + " bytes of data, its header promises " +
                    std::to_string(out.size()) + " elements of " + descr(out.type));
    }
    out.bytes.resize(static_cast<std::size_t>(wanted));
    file.read(reinterpret_cast<char*>(out.bytes.data()), static_cast<std::streamsize>(out.bytes.size()));
    if (!file) throw error(where + ": cannot be read");
    if (order == "True") detail::to_c_order(out);
    return out;
}

/// Writes a file, replacing what was there. Throws error if the disk does not take it.
inline void write(const std::filesystem::path& path, const array& a) {
    std::string header = std::string("{'descr': '") + descr(a.type) + "', 'fortran_order': False, 'shape': (";
    for (std::size_t i = 0; i < a.shape.size(); ++i) {
        header += std::to_string(a.shape[i]) + (i + 1 < a.shape.size() ? ", " : a.shape.size() == 1 ? "," : "");
    }
    header += "), }";
    header.append(63 - (10 + header.size()) % 64, ' '); // data begin at a multiple of 64 bytes
    header += '\n';
    const char start[10] = {'\x93',
                            'N',
                            'U',
                            'M',
                            'P',
                            'Y',
                            1,
                            0,
                            static_cast<char>(header.size() & 0xff),
                            static_cast<char>(header.size() >> 8)};
    std::ofstream file(path, std::ios::binary);
    file.write(start, sizeof start);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    file.write(reinterpret_cast<const char*>(a.bytes.data()), static_cast<std::streamsize>(a.bytes.size()));
    file.close();
    if (!file) throw error(path.string() + ": cannot be written");
}

/// An array of `shape` over a copy of the elements at `data`. `t` says what their bits mean.
template <class T>
[[nodiscard]] array make(type t, std::vector<std::int64_t> shape, const T* data) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (sizeof(T) != element_bytes(t)) throw error(std::string("elements of ") + descr(t) + " have another size");
    array a{t, std::move(shape), {}};
    a.bytes.resize(static_cast<std::size_t>(a.size()) * sizeof(T));
    if (!a.bytes.empty()) std::memcpy(a.bytes.data(), data, a.bytes.size());
    return a;
}
[[nodiscard]] inline array make(std::vector<std::int64_t> shape, const float* data) {
    return make(type::f4, std::move(shape), data);
}
[[nodiscard]] inline array make(std::vector<std::int64_t> shape, const double* data) {
    return make(type::f8, std::move(shape), data);
}
[[nodiscard]] inline array make(std::vector<std::int64_t> shape, const std::int64_t* data) {
    return make(type::i8, std::move(shape), data);
}

} // namespace npy
