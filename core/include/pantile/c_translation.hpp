/// \file
/// From the structs of the C interface to those of the C++ page and back, and from exceptions to statuses: what the rooms'
/// c_interface.cpp share. Installed because rooms include it; not promised.
///
/// Every C++ aggregate is taken apart by a structured binding that names all its fields, so that one more of them does not compile
/// before C has it too.
#pragma once

#include <cstddef>
#include <string>

#include <pantile/c_types.h>
#include <pantile/core/tile_plan.hpp>
#include <pantile/core/traffic.hpp>
#include <pantile/options.hpp>
#include <pantile/results.hpp>
#include <pantile/tensor.hpp>

namespace pantile::inline v0::c_interface {

/// What this thread's last failure said, in this library.
[[nodiscard]] const char* last_message() noexcept;

/// Inside a catch block: the status of the exception in flight, and its text for pantile_message().
pantile_status report_failure() noexcept;

/// Throws invalid_argument.
[[noreturn]] void refuse(const std::string& text);

/// f(), with its exceptions as a status.
template <class F>
pantile_status guarded(const F& f) {
    try {
        f();
        return PANTILE_OK;
    } catch (...) {
        return report_failure();
    }
}

// Each throws invalid_argument with a text that names the argument: where a pointer is null, a size is wrong, a number is none of
// an enumeration's.

/// A struct that begins with its size: the `known` bytes of it, of which those that its caller does not have are 0.
void read_sized(const void* from, const char* name, const char* type, void* to, std::size_t known);
/// May a struct that begins with its size be written?
void check_sized(const void* to, const char* name, const char* type);
/// Writes it, all but its size; what its caller has beyond the `known` bytes becomes 0.
void write_sized(const void* from, void* to, std::size_t known);

tensor_ref to_tensor(const pantile_tensor* t, const char* name, int rank);
results to_results(const pantile_results* r);
loss_gradients to_loss_gradients(const pantile_loss_gradients* g);
gradients to_gradients(const pantile_gradients* g);
/// Its tensors' names in messages are `name`.out, …
partial_ref to_partial(const pantile_partial* p, const char* name);
/// What every call on q, k and v begins with.
struct inputs {
    tensor_ref q, k, v;
    options o;
};
inputs to_inputs(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v, const pantile_options* o);

pantile_tile_plan to_c(const tile_plan& plan);
pantile_traffic to_c(const core::traffic& traffic);
tile_plan from_c(const pantile_tile_plan& plan);
core::traffic from_c(const pantile_traffic& traffic);

/// A text in an array of the C struct, cut where it does not fit.
template <std::size_t n>
void copy_text(const std::string& from, char (&to)[n]) {
    to[from.copy(to, n - 1)] = '\0';
}
/// A text that came from the caller, and may have no end.
template <std::size_t n>
[[nodiscard]] std::string text_of(const char (&from)[n]) {
    std::size_t length = 0;
    while (length < n && from[length] != '\0') ++length;
    return {from, length};
}
/// A text in the caller's memory, as snprintf gives it.
void give_text(const std::string& from, char* to, std::size_t capacity, std::size_t* needed);

} // namespace pantile::inline v0::c_interface
