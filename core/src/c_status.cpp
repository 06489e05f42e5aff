#include <cstring>
#include <exception>
#include <new>

#include <pantile/c_translation.hpp>
#include <pantile/error.hpp>

namespace pantile::inline v0::c_interface {
namespace {

// Plain memory: it needs nothing that could fail, and outlives every other object of the thread.
thread_local char message[1024] = "";

pantile_status failed(pantile_status status, const char* text) {
    const std::size_t length = strnlen(text, sizeof message - 1);
    std::memcpy(message, text, length);
    message[length] = '\0';
    return status;
}

} // namespace

pantile_status report_failure() noexcept {
    try {
        throw;
    } catch (const invalid_argument& e) {
        return failed(PANTILE_INVALID_ARGUMENT, e.what());
    } catch (const unsupported& e) {
        return failed(PANTILE_UNSUPPORTED, e.what());
    } catch (const cuda_error& e) {
        return failed(PANTILE_CUDA_ERROR, e.what());
    } catch (const std::bad_alloc&) {
        return failed(PANTILE_OUT_OF_MEMORY, "pantile: out of memory");
    } catch (const std::exception& e) {
        return failed(PANTILE_INTERNAL_ERROR, e.what());
    } catch (...) {
        return failed(PANTILE_INTERNAL_ERROR, "pantile: an unknown exception");
    }
}

const char* last_message() noexcept { return message; }

} // namespace pantile::inline v0::c_interface

const char* pantile_message(void) { return pantile::c_interface::last_message(); }

const char* pantile_status_name(int32_t status) {
    switch (status) {
    case PANTILE_OK:
        return "PANTILE_OK";
    case PANTILE_INVALID_ARGUMENT:
        return "PANTILE_INVALID_ARGUMENT";
    case PANTILE_UNSUPPORTED:
        return "PANTILE_UNSUPPORTED";
    case PANTILE_CUDA_ERROR:
        return "PANTILE_CUDA_ERROR";
    case PANTILE_OUT_OF_MEMORY:
        return "PANTILE_OUT_OF_MEMORY";
    case PANTILE_INTERNAL_ERROR:
        return "PANTILE_INTERNAL_ERROR";
    default:
        return "an unknown status";
    }
}

int32_t pantile_version(void) { return PANTILE_VERSION; }
