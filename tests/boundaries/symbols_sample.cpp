// An object file that breaks the weak-symbol rule once: the test of the rule looks at it.
namespace {
int hidden(int x) { return x - 3; }
} // namespace

struct avx2_tag {};

template <class Tag>
[[gnu::noinline]] int tagged_sample(int x) {
    return x * 3;
}

[[gnu::noinline]] inline int untagged_sample(int x) { return x + 7; }

int strong_sample(int x) { return untagged_sample(x) + tagged_sample<avx2_tag>(x) + hidden(x); }
