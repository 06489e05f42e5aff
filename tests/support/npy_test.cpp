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

TEST(npy, refuses_to_reinterpret) {
    const float x = 1.0F;
    EXPECT_THROW((void)npy::make({1}, &x).as<double>(), npy::error);
    EXPECT_THROW((void)npy::make({1}, &x).copy_bits<double>(), npy::error);
    EXPECT_THROW((void)npy::make(npy::type::f8, {1}, &x), npy::error);
    EXPECT_THROW(npy::write("/nonexistent/folder/a.npy", npy::make({1}, &x)), npy::error);
}

} // namespace
