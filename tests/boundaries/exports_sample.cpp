// A shared library that shows too much: the test of the rule looks at it.
#include <vector>

#if defined(__GNUC__)
#define PANTILE_API __attribute__((visibility("default")))
#else
#define PANTILE_API
#endif

namespace pantile::inline v0 {

PANTILE_API int shown(int x);
PANTILE_API int planted(int x);

class PANTILE_API shown_class {
  public:
    virtual ~shown_class();
    int member(int x);
};

namespace core {
int hidden(int x) { return x + 1; }
} // namespace core

int shown(int x) { return core::hidden(x); }
int planted(int x) { return x + 2; } // no header marks it
shown_class::~shown_class() = default;
int shown_class::member(int x) { return static_cast<int>(std::vector<int>(static_cast<std::size_t>(x)).size()); }

} // namespace pantile::inline v0
