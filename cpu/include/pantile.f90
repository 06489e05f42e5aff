! pantile's C interface (pantile.h) for Fortran 2018: compile this file with the program, and link pantile.
!
! A Fortran array q(dim, heads, length, batch) lies in memory as [batch][length][heads][dim], which is pantile_bshd; one
! (dim, length, heads, batch) is pantile_bhsd, and lse(length, heads, batch) is pantile_bhs. Arrays need the attribute target, and
! go by c_loc(q). Options that are not given are the defaults. What each function and field means stands in pantile.h.
module pantile
  use, intrinsic :: iso_c_binding
  implicit none
  public

  ! pantile_status
  integer(c_int), parameter :: pantile_ok = 0, pantile_invalid_argument = 1, pantile_unsupported = 2, &
    pantile_cuda_error = 3, pantile_out_of_memory = 4, pantile_internal_error = 5
  ! pantile_dtype, pantile_memory
  integer(c_int32_t), parameter :: pantile_fp32 = 0, pantile_fp64 = 1, pantile_fp16 = 2, pantile_bf16 = 3
  integer(c_int32_t), parameter :: pantile_host = 0, pantile_device = 1
  ! pantile_alignment
  integer(c_int32_t), parameter :: pantile_no_mask = 0, pantile_bottom_right = 1, pantile_top_left = 2, &
    pantile_explicit_offset = 3
  ! pantile_isa
  integer(c_int32_t), parameter :: pantile_isa_automatic = 0, pantile_isa_baseline = 1, pantile_isa_avx2 = 2, &
    pantile_isa_avx512 = 3, pantile_isa_amx = 4

  integer(c_int64_t), parameter :: pantile_unbounded = 2_c_int64_t**60
  ! Counts of numbers in device memory where only that they are one a batch, one a query head is known.
  integer(c_int64_t), parameter :: pantile_one_a_batch = -1, pantile_one_a_head = -1

  type, bind(c) :: pantile_tensor
    type(c_ptr) :: data = c_null_ptr
    integer(c_int32_t) :: dtype = 0, memory = 0, rank = 0, reserved = 0
    integer(c_int64_t) :: extent(4) = 0, stride(4) = 0
  end type

  type, bind(c) :: pantile_mask
    integer(c_int64_t) :: left = 0, right = 0, align = 0, offset = 0
  end type

  type, bind(c) :: pantile_lengths
    type(c_ptr) :: data = c_null_ptr
    integer(c_int64_t) :: count = 0
    integer(c_int32_t) :: bits = 0, memory = 0
  end type

  ! One number a query head, (heads), of real(c_float) or real(c_double); slopes also (heads, batch).
  type, bind(c) :: pantile_head_numbers
    type(c_ptr) :: data = c_null_ptr
    integer(c_int64_t) :: count = 0
    integer(c_int32_t) :: dtype = 0, memory = 0
  end type

  type, bind(c) :: pantile_head_gradients
    type(c_ptr) :: data = c_null_ptr
    integer(c_int64_t) :: count = 0
    integer(c_int32_t) :: dtype = 0, memory = 0
  end type

  type, bind(c) :: pantile_tile_plan
    integer(c_int64_t) :: row_tile = 0, key_tile = 0, key_splits = 0
  end type

  ! Of each type that begins with its size x: x%size = c_sizeof(x).
  type, bind(c) :: pantile_options
    integer(c_size_t) :: size = 0
    type(pantile_mask) :: mask
    real(c_double) :: scale = 0
    integer(c_int32_t) :: has_scale = 0, accumulate = 0
    type(pantile_lengths) :: key_lengths
    integer(c_int32_t) :: threads = 0, isa = 0
    type(pantile_tile_plan) :: plan
    integer(c_int32_t) :: kernel = 0, reserved = 0
    integer(c_int64_t) :: key_splits = 0
    type(c_ptr) :: workspace = c_null_ptr
    integer(c_int64_t) :: workspace_bytes = 0
    real(c_double) :: softcap = 0
    type(pantile_head_numbers) :: slopes, sinks
  end type

  type, bind(c) :: pantile_results
    integer(c_size_t) :: size = 0
    type(pantile_tensor) :: out, lse
  end type

  type, bind(c) :: pantile_loss_gradients
    integer(c_size_t) :: size = 0
    type(pantile_tensor) :: dout
  end type

  type, bind(c) :: pantile_gradients
    integer(c_size_t) :: size = 0
    type(pantile_tensor) :: dq, dk, dv
    type(pantile_head_gradients) :: dslopes, dsinks
  end type

  type, bind(c) :: pantile_partial
    integer(c_size_t) :: size = 0
    type(pantile_tensor) :: out, max, sum
  end type

  type, bind(c) :: pantile_transfers
    integer(c_int64_t) :: reads = 0, writes = 0
  end type

  type, bind(c) :: pantile_traffic
    type(pantile_transfers) :: q, k, v, out, lse, dout, dq, dk, dv, delta, scores, probabilities, dscores, dprobabilities
  end type

  type, bind(c) :: pantile_explanation
    integer(c_size_t) :: size = 0
    character(kind=c_char) :: machine(16) = c_null_char, isa(16) = c_null_char, kernel(32) = c_null_char
    type(pantile_tile_plan) :: tiles
    integer(c_int32_t) :: threads = 0, reserved = 0
    integer(c_int64_t) :: workspace_bytes = 0
    type(pantile_traffic) :: traffic
    integer(c_int64_t) :: read_bytes = 0, write_bytes = 0
    real(c_double) :: flops = 0
    character(kind=c_char) :: note(256) = c_null_char
  end type

  interface
    integer(c_int) function pantile_attention(q, k, v, results, options) bind(c)
      import
      type(pantile_tensor), intent(in) :: q, k, v
      type(pantile_results), intent(in) :: results
      type(pantile_options), intent(in), optional :: options
    end function

    integer(c_int) function pantile_attention_backward(q, k, v, out, lse, loss_gradients, gradients, options) bind(c)
      import
      type(pantile_tensor), intent(in) :: q, k, v, out, lse
      type(pantile_loss_gradients), intent(in) :: loss_gradients
      type(pantile_gradients), intent(in) :: gradients
      type(pantile_options), intent(in), optional :: options
    end function

    integer(c_int) function pantile_attention_partial(q, k, v, part, options) bind(c)
      import
      type(pantile_tensor), intent(in) :: q, k, v
      type(pantile_partial), intent(in) :: part
      type(pantile_options), intent(in), optional :: options
    end function

    integer(c_int) function pantile_merge(a, b, part) bind(c)
      import
      type(pantile_partial), intent(in) :: a, b, part
    end function

    integer(c_int) function pantile_finish(part, results) bind(c)
      import
      type(pantile_partial), intent(in) :: part
      type(pantile_results), intent(in) :: results
    end function

    integer(c_int) function pantile_explain(q, k, v, options, explanation) bind(c)
      import
      type(pantile_tensor), intent(in) :: q, k, v
      type(pantile_options), intent(in), optional :: options
      type(pantile_explanation), intent(inout) :: explanation
    end function

    integer(c_int) function pantile_explain_backward(q, k, v, options, explanation) bind(c)
      import
      type(pantile_tensor), intent(in) :: q, k, v
      type(pantile_options), intent(in), optional :: options
      type(pantile_explanation), intent(inout) :: explanation
    end function

    type(pantile_tensor) function pantile_bshd(data, dtype, batch, length, heads, dim) bind(c)
      import
      type(c_ptr), value :: data
      integer(c_int32_t), value :: dtype
      integer(c_int64_t), value :: batch, length, heads, dim
    end function

    type(pantile_tensor) function pantile_bhsd(data, dtype, batch, heads, length, dim) bind(c)
      import
      type(c_ptr), value :: data
      integer(c_int32_t), value :: dtype
      integer(c_int64_t), value :: batch, heads, length, dim
    end function

    type(pantile_tensor) function pantile_bhs(data, dtype, batch, heads, length) bind(c)
      import
      type(c_ptr), value :: data
      integer(c_int32_t), value :: dtype
      integer(c_int64_t), value :: batch, heads, length
    end function

    type(pantile_tensor) function pantile_strided(data, dtype, extent, stride) bind(c)
      import
      type(c_ptr), value :: data
      integer(c_int32_t), value :: dtype
      integer(c_int64_t), intent(in) :: extent(4), stride(4) ! in the order batch, heads, length, dim
    end function

    type(pantile_mask) function pantile_causal(align) bind(c)
      import
      integer(c_int32_t), value :: align
    end function

    type(pantile_mask) function pantile_window(left, right, align) bind(c)
      import
      integer(c_int64_t), value :: left, right
      integer(c_int32_t), value :: align
    end function

    type(pantile_mask) function pantile_at_offset(mask, offset) bind(c)
      import
      type(pantile_mask), value :: mask
      integer(c_int64_t), value :: offset
    end function

    integer(c_int32_t) function pantile_version() bind(c)
      import
    end function

    type(c_ptr) function pantile_message_in_c() bind(c, name="pantile_message")
      import
    end function
  end interface

contains

  !> Why this thread's last failed call failed.
  function pantile_message() result(text)
    character(:), allocatable :: text
    character(kind=c_char), pointer :: bytes(:)
    integer :: length, i
    call c_f_pointer(pantile_message_in_c(), bytes, [1024])
    length = 0
    do while (bytes(length + 1) /= c_null_char)
      length = length + 1
    end do
    allocate (character(length) :: text)
    do i = 1, length
      text(i:i) = bytes(i)
    end do
  end function

end module
