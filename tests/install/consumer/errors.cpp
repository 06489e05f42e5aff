// What the library throws is caught here, by its own type and by its base's, also where the library is a shared one.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include <pantile/attention.hpp>

namespace {

std::vector<float> numbers(64);

void wrong_call() {
    const auto t = pantile::bshd(numbers.data(), 1, 2, 1, 2);
    pantile::attention(t, t, t, pantile::bshd(numbers.data() + 32, 1, 3, 1, 2));
}

template <class Error>
bool caught(const char* what) {
    try {
        wrong_call();
    } catch (const Error& e) {
        if (std::string(e.what()).find("out.length is 3, q.length is 2") != std::string::npos) return true;
        std::printf("%s says: %s\n", what, e.what());
        return false;
    } catch (...) {
        std::printf("what was thrown is no %s\n", what);
        return false;
    }
    std::printf("nothing was thrown\n");
    return false;
}

} // namespace

int main() {
    const bool own = caught<pantile::invalid_argument>("pantile::invalid_argument");
    const bool base = caught<std::invalid_argument>("std::invalid_argument");
    const bool any = caught<std::exception>("std::exception");
    return own && base && any ? 0 : 1;
}
