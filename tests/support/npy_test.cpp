#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <npy.hpp>

#include <support/scratch_folder.hpp>

namespace {

using pantile::test::scratch_folder;

void put(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

/// A file with this header text and these data.
void put(const std::filesystem::path& path, const std::string& header, const std::string& data) {
    std::string start("\x93NUMPY\x01\x00", 8);
    start += static_cast<char>(header.size() & 0xff);
    start += static_cast<char>(header.size() >> 8);
    put(path, start + header + data);
}

std::string message_of(const std::filesystem::path& path) {
    try {
        (void)npy::read(path);
    } catch (const npy::error& e) {
        return e.what();
    }
    return "no error";
}

TEST(npy, gives_back_what_it_wrote) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    const std::vector<double> f8{1.5, -2.0, 0.0, 1e300, -0.0, 3.0};
    npy::write(path, npy::make({2, 1, 3}, f8.data()));
    const npy::array back = npy::read(path);
    EXPECT_EQ(back.type, npy::type::f8);
    EXPECT_EQ(back.shape, (std::vector<std::int64_t>{2, 1, 3}));
    EXPECT_EQ(back.as<double>(), f8);

    const std::vector<std::int64_t> i8{-7, 1LL << 40};
    npy::write(path, npy::make({2}, i8.data()));
    EXPECT_EQ(npy::read(path).as<std::int64_t>(), i8);

    const std::vector<std::uint16_t> f2{0x3c00, 0x7c00};
    npy::write(path, npy::make(npy::type::f2, {1, 2}, f2.data()));
    EXPECT_EQ(npy::read(path).as<std::uint16_t>(), f2);

    const std::vector<unsigned char> b1{1, 0, 1};
    npy::write(path, npy::make(npy::type::b1, {3}, b1.data()));
    EXPECT_EQ(npy::read(path).as<unsigned char>(), b1);
}

TEST(npy, reads_scalars_and_empty_arrays) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    const float x = 2.5F;
    npy::write(path, npy::make({}, &x));
    EXPECT_TRUE(npy::read(path).shape.empty());
    EXPECT_EQ(npy::read(path).as<float>(), std::vector<float>{2.5F});
    npy::write(path, npy::make({3, 0, 2}, &x));
    EXPECT_EQ(npy::read(path).size(), 0);
}

TEST(npy, data_begin_at_a_multiple_of_64_bytes) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    for (std::int64_t n : {1LL, 10LL, 100LL, 1000LL}) {
        const std::vector<float> x(static_cast<std::size_t>(n));
        npy::write(path, npy::make({n}, x.data()));
        EXPECT_EQ((std::filesystem::file_size(path) - static_cast<std::uintmax_t>(4 * n)) % 64, 0U);
    }
}

TEST(npy, puts_fortran_order_into_c_order) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    const std::vector<float> columns{0, 3, 1, 4, 2, 5}; // of ((0, 1, 2), (3, 4, 5))
    put(path, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n",
        std::string(reinterpret_cast<const char*>(columns.data()), 24));
    EXPECT_EQ(npy::read(path).as<float>(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(npy::read(path).shape, (std::vector<std::int64_t>{2, 3}));
}

TEST(npy, says_what_is_wrong_with_a_file) {
    using testing::HasSubstr;
    const scratch_folder folder;
    const auto path = folder / "bad.npy";
    EXPECT_THAT(message_of(folder / "none.npy"), HasSubstr("none.npy: cannot be opened"));
    put(path, "short");
    EXPECT_THAT(message_of(path), HasSubstr("is not a .npy file"));
    put(path, std::string("\x93NUMPY\x02\x00\x10\x00\x00\x00", 12));
    EXPECT_THAT(message_of(path), HasSubstr("is format 2.0, read is 1.0"));
    put(path, std::string("\x93NUMPY\x01\x01\x10\x00\x00\x00", 12));
    EXPECT_THAT(message_of(path), HasSubstr("is format 1.1, read is 1.0"));
    put(path, std::string("\x93NUMPX\x01\x00\x10\x00\x00\x00", 12));
    EXPECT_THAT(message_of(path), HasSubstr("is not a .npy file"));
    put(path, std::string("\x93NUMPY\x01\x00\x7f\x00{'de", 14));
    EXPECT_THAT(message_of(path), HasSubstr("ends inside its header"));
    put(path, "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }\n", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("fortran_order is Maybe"));
    put(path, "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }\n", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("elements of type '>f4'"));
    put(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("holds 4 bytes of data, its header promises 2 elements of <f4"));
    put(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }\n", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("too many elements"));
    put(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("too large"));
    for (const char* shape : {"5", "1230", "(1)", "(1 1)", "(1,, 1)", "(, 1)", "(,)"}) {
        put(path, std::string("{'descr': '<f4', 'fortran_order': False, 'shape': ") + shape + ", }\n", "1234");
        EXPECT_THAT(message_of(path), HasSubstr("not a tuple")) << shape;
    }
    put(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("not a tuple of numbers"));
    put(path, "{'descr': '<f4', 'fortran_order': False, }\n", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("no 'shape'"));
    put(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,", "1234");
    EXPECT_THAT(message_of(path), HasSubstr("does not end"));
}

/// As many bytes as the header promises: one fewer or one more is another array.
TEST(npy, holds_the_data_to_the_header) {
    using testing::HasSubstr;
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    const std::string header = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }\n";
    put(path, header, "12345678");
    EXPECT_EQ(message_of(path), "no error");
    for (const std::string data : {"", "123456", "1234567", "123456789", "1234567812345678"}) {
        put(path, header, data);
        EXPECT_THAT(message_of(path), HasSubstr("a.npy: holds " + std::to_string(data.size()) +
                                                " bytes of data, its header promises 4 elements of <f2"));
    }
    put(path, "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 5), }\n", "");
    EXPECT_EQ(message_of(path), "no error");
    put(path, "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 5), }\n", "1");
    EXPECT_THAT(message_of(path), HasSubstr("holds 1 bytes of data"));
    put(path, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n", "12345678");
    EXPECT_EQ(message_of(path), "no error");
}

/// Each type by its name in the header, its bits, and no other one: another byte order, size or kind is refused.
TEST(npy, knows_its_types_by_name) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    const auto typed = [&](const std::string& descr, const std::string& data) {
        put(path, "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (1,), }\n", data);
        return npy::read(path);
    };
    EXPECT_EQ(typed("<f4", std::string("\0\0\xc0\x3f", 4)).as<float>()[0], 1.5F);
    EXPECT_EQ(typed("<f8", std::string("\0\0\0\0\0\0\xf8\x3f", 8)).as<double>()[0], 1.5);
    EXPECT_EQ(typed("<f2", std::string("\x01\x3e", 2)).as<std::uint16_t>()[0], 0x3e01);
    EXPECT_EQ(typed("|b1", "\x01").as<unsigned char>()[0], 1);
    EXPECT_EQ(typed("<i8", std::string("\x02\x01\0\0\0\0\0\0", 8)).as<std::int64_t>()[0], 0x102);
    for (const char* descr :
         {">f4", ">f8", ">f2", ">i8", "<f16", "<u8", "<i4", "|u1", "<c8", "f4", "=f4", "|S4", "<F4"}) {
        EXPECT_THROW((void)typed(descr, "12345678"), npy::error) << descr;
    }
    put(path, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", "1234");
    EXPECT_THROW((void)npy::read(path), npy::error);
}

/// A header of more than 255 bytes, keys in another order, blanks: as NumPy may write them.
TEST(npy, reads_headers_as_others_write_them) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    put(path, "{'shape': ( 2 ,3), 'fortran_order':  False, 'descr': '<f2'}" + std::string(700, ' ') + "\n",
        "123456789abc");
    EXPECT_EQ(npy::read(path).shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(npy::read(path).type, npy::type::f2);
    EXPECT_EQ(npy::read(path).as<std::uint16_t>()[5], 'b' | 'c' << 8);
    put(path, "{'descr': '<f2', 'fortran_order': False, 'shape': (3 ,), }\n", "123456");
    EXPECT_EQ(npy::read(path).shape, (std::vector<std::int64_t>{3}));
}

/// To the byte what the format says, so that others can read it.
TEST(npy, writes_the_format) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    const auto bytes_of = [&] {
        std::stringstream text;
        text << std::ifstream(path, std::ios::binary).rdbuf();
        return text.str();
    };
    const std::vector<std::int64_t> x{1, -2, 3};
    npy::write(path, npy::make({3}, x.data()));
    const std::string header = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }";
    EXPECT_EQ(bytes_of(), std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header +
                              std::string(117 - header.size(), ' ') + "\n" +
                              std::string(reinterpret_cast<const char*>(x.data()), 24));
    npy::write(path, npy::make({3, 1}, x.data()));
    EXPECT_NE(bytes_of().find("'shape': (3, 1), }"), std::string::npos);
    npy::write(path, npy::make({}, x.data()));
    EXPECT_NE(bytes_of().find("'shape': (), }"), std::string::npos);
    // What was there is gone, also if it was longer.
    npy::write(path, npy::make({1000}, std::vector<float>(1000).data()));
    npy::write(path, npy::make({1}, x.data()));
    EXPECT_EQ(std::filesystem::file_size(path), 128U + 8U);
}

/// Three axes in Fortran order: the first varies fastest.
TEST(npy, puts_three_axes_into_c_order) {
    const scratch_folder folder;
    const auto path = folder / "a.npy";
    std::string data;
    for (int c = 0; c < 4; ++c)
        for (int b = 0; b < 3; ++b)
            for (int a = 0; a < 2; ++a) data += static_cast<char>(100 * a + 10 * b + c);
    put(path, "{'descr': '|b1', 'fortran_order': True, 'shape': (2, 3, 4), }\n", data);
    const auto values = npy::read(path).as<unsigned char>();
    std::size_t at = 0;
    for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 3; ++b)
            for (int c = 0; c < 4; ++c) EXPECT_EQ(values[at++], 100 * a + 10 * b + c);
}

/// An array gives its elements as the type that it holds, and as no other one, whatever their sizes.
TEST(npy, holds_one_type) {
    for (const npy::type t : {npy::type::f4, npy::type::f8, npy::type::f2, npy::type::b1, npy::type::i8}) {
        npy::array a{t, {1}, std::vector<std::byte>(npy::element_bytes(t))};
        const auto gives = [&](auto zero) {
            try {
                return a.as<decltype(zero)>().size() == 1;
            } catch (const npy::error&) {
                return false;
            }
        };
        EXPECT_EQ(gives(0.0F), t == npy::type::f4);
        EXPECT_EQ(gives(0.0), t == npy::type::f8);
        EXPECT_EQ(gives(std::uint16_t{}), t == npy::type::f2);
        EXPECT_EQ(gives(static_cast<unsigned char>(0)), t == npy::type::b1);
        EXPECT_EQ(gives(std::int64_t{}), t == npy::type::i8);
    }
}

TEST(npy, refuses_to_reinterpret) {
    const float x = 1.0F;
    EXPECT_THROW((void)npy::make({1}, &x).as<double>(), npy::error);
    EXPECT_THROW((void)npy::make({1}, &x).copy_bits<double>(), npy::error);
    EXPECT_THROW((void)npy::make(npy::type::f8, {1}, &x), npy::error);
    EXPECT_THROW(npy::write("/nonexistent/folder/a.npy", npy::make({1}, &x)), npy::error);
}

} // namespace
