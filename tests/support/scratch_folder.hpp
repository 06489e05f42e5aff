/// \file
/// A folder of a test's own, removed with everything in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace pantile::test {

class scratch_folder {
  public:
    scratch_folder() {
        // mkdtemp fills in the six last letters.
        std::string name = (std::filesystem::temp_directory_path() / ("pantile-test-" + std::string(6, 'X'))).string();
        if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder can be made: " + name);
        path_ = name;
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    ~scratch_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

} // namespace pantile::test
