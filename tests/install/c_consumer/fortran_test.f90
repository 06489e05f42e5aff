! The module pantile against the library: sizes of types as C has them, and the functions that the example does not call.
program fortran_test
  use pantile
  implicit none
  integer(c_int64_t), parameter :: length = 9, heads = 2, dim = 4, half = 4
  real(c_float), target :: q(dim, length, heads, 1), k(dim, length, heads, 1), v(dim, length, heads, 1)
  real(c_float), target :: out(dim, length, heads, 1), lse(length, heads, 1), dout(dim, length, heads, 1)
  real(c_float), target :: dq(dim, length, heads, 1), dk(dim, length, heads, 1), dv(dim, length, heads, 1)
  real(c_float), target :: out_a(dim, length, heads, 1), max_a(length, heads, 1), sum_a(length, heads, 1)
  real(c_float), target :: out_b(dim, length, heads, 1), max_b(length, heads, 1), sum_b(length, heads, 1)
  real(c_float), target :: out_ab(dim, length, heads, 1), lse_ab(length, heads, 1)
  real(c_double), target :: slopes(heads) = [0.5d0, 0.25d0], sinks(heads) = [1d0, -2d0], dslopes(heads), dsinks(heads)
  type(pantile_tensor) :: tq, tk, tv
  type(pantile_head_numbers) :: numbers
  type(pantile_head_gradients) :: number_gradients
  type(pantile_options) :: options
  type(pantile_results) :: results
  type(pantile_loss_gradients) :: from
  type(pantile_gradients) :: to
  type(pantile_partial) :: a, b
  type(pantile_explanation) :: explanation
  integer :: faults = 0, h

  call check(c_sizeof(tq) == 88, 'pantile_tensor')
  call check(c_sizeof(numbers) == 24, 'pantile_head_numbers')
  call check(c_sizeof(number_gradients) == 24, 'pantile_head_gradients')
  call check(c_sizeof(options) == 200, 'pantile_options')
  call check(c_sizeof(results) == 184, 'pantile_results')
  call check(c_sizeof(from) == 96, 'pantile_loss_gradients')
  call check(c_sizeof(to) == 320, 'pantile_gradients')
  call check(c_sizeof(a) == 272, 'pantile_partial')
  call check(c_sizeof(explanation) == 616, 'pantile_explanation')

  call random_number(q)
  call random_number(k)
  call random_number(v)
  tq = tensor(q)
  tk = tensor(k)
  tv = tensor(v)
  options%size = c_sizeof(options)
  options%mask = pantile_window(5_c_int64_t, 0_c_int64_t, pantile_top_left)
  options%has_scale = 1
  options%scale = 0.25
  results%size = c_sizeof(results)
  results%out = tensor(out)
  results%lse = rows(lse)
  call check(pantile_attention(tq, tk, tv, results, options) == pantile_ok, 'attention')

  ! The weights of each row sum to 1: so does dv, over the keys, to dout, over the rows.
  dout = 1
  from%size = c_sizeof(from)
  from%dout = tensor(dout)
  to%size = c_sizeof(to)
  to%dq = tensor(dq)
  to%dk = tensor(dk)
  to%dv = tensor(dv)
  call check(pantile_attention_backward(tq, tk, tv, results%out, results%lse, from, to, options) == pantile_ok, 'backward')
  call check(all(abs(sum(dv, 2) - real(length)) < 1e-4), 'dv')

  ! With sinks a row's weights and its sink's sum to 1: as much as dv lacks, weighted by the loss, is minus the sinks' gradient.
  options%softcap = 20
  options%slopes = pantile_head_numbers(c_loc(slopes), heads, pantile_fp64, pantile_host)
  options%sinks = pantile_head_numbers(c_loc(sinks), heads, pantile_fp64, pantile_host)
  v = 1
  call check(pantile_attention(tq, tk, tv, results, options) == pantile_ok, 'attention with sinks')
  call check(maxval(out) < 1 .and. minval(out) > 0, 'out with sinks')
  to%dslopes = pantile_head_gradients(c_loc(dslopes), heads, pantile_fp64, pantile_host)
  to%dsinks = pantile_head_gradients(c_loc(dsinks), heads, pantile_fp64, pantile_host)
  call check(pantile_attention_backward(tq, tk, tv, results%out, results%lse, from, to, options) == pantile_ok, 'backward of sinks')
  ! out is 1 - p in every dim, p the sink's weight; the loss is its sum, and dp/dsink = p·(1 - p).
  do h = 1, int(heads)
    call check(abs(dsinks(h) + dim*sum(real((1 - out(1, :, h, 1))*out(1, :, h, 1), c_double))) < 1e-4, 'dsinks')
  end do
  call check(all(dslopes < 0), 'dslopes') ! a steeper slope leaves more to the sink
  call random_number(v)
  options%softcap = 0
  options%slopes = pantile_head_numbers()
  options%sinks = pantile_head_numbers()
  call check(pantile_attention(tq, tk, tv, results, options) == pantile_ok, 'attention')

  ! Keys 1 to 4 and 5 to 9, merged: where row 0 stands is said by hand.
  a%size = c_sizeof(a)
  a%out = tensor(out_a)
  a%max = rows(max_a)
  a%sum = rows(sum_a)
  b%size = c_sizeof(b)
  b%out = tensor(out_b)
  b%max = rows(max_b)
  b%sum = rows(sum_b)
  tk%extent(3) = half
  tv%extent(3) = half
  call check(pantile_attention_partial(tq, tk, tv, a, options) == pantile_ok, 'the first part')
  tk = keys_behind(k)
  tv = keys_behind(v)
  options%mask = pantile_at_offset(options%mask, -half)
  call check(pantile_attention_partial(tq, tk, tv, b, options) == pantile_ok, 'the second part')
  call check(pantile_merge(a, b, a) == pantile_ok, 'merge')
  results%out = tensor(out_ab)
  results%lse = rows(lse_ab)
  call check(pantile_finish(a, results) == pantile_ok, 'finish')
  call check(maxval(abs(out_ab - out)) < 1e-5, 'out of the parts')
  call check(maxval(abs(lse_ab - lse)) < 1e-5, 'lse of the parts')

  explanation%size = c_sizeof(explanation)
  call check(pantile_explain_backward(tq, tk, tv, options, explanation) == pantile_ok, 'explain')
  call check(all(explanation%kernel(1:9) == [character(1) :: 'b', 'a', 'c', 'k', 'w', 'a', 'r', 'd', c_null_char]), 'kernel')
  call check(explanation%traffic%dq%writes > 0, 'traffic')
  call check(pantile_version() > 0, 'version')
  options%sinks = pantile_head_numbers(c_loc(sinks), 1_c_int64_t, pantile_fp64, pantile_host)
  call check(pantile_attention(tq, tk, tv, results, options) == pantile_invalid_argument, 'too few sinks')
  call check(pantile_message() == 'pantile: options.sinks has 1 entries, q.heads is 2: there must be one a query head', &
             'message')
  options%sinks = pantile_head_numbers()
  options%threads = -1
  call check(pantile_attention(tq, tk, tv, results, options) == pantile_invalid_argument, 'a wrong option')
  call check(pantile_message() == "pantile: options.threads is -1: it must be at least 0 (0: OpenMP's choice)", 'message')
  if (faults > 0) error stop 'not all as expected'
  print '(a)', 'all as expected'

contains

  function tensor(x) result(t)
    real(c_float), intent(in), target :: x(:, :, :, :)
    type(pantile_tensor) :: t
    t = pantile_bhsd(c_loc(x), pantile_fp32, 1_c_int64_t, heads, length, dim)
  end function

  function rows(x) result(t)
    real(c_float), intent(in), target :: x(:, :, :)
    type(pantile_tensor) :: t
    t = pantile_bhs(c_loc(x), pantile_fp32, 1_c_int64_t, heads, length)
  end function

  function keys_behind(x) result(t)
    real(c_float), intent(in), target :: x(:, :, :, :)
    type(pantile_tensor) :: t
    t = pantile_strided(c_loc(x(1, half + 1, 1, 1)), pantile_fp32, [1_c_int64_t, heads, length - half, dim], &
                        [0_c_int64_t, length*dim, dim, 1_c_int64_t])
  end function

  subroutine check(right, what)
    logical, intent(in) :: right
    character(*), intent(in) :: what
    if (right) return
    faults = faults + 1
    print '(4a)', 'WRONG: ', what, ': ', pantile_message()
  end subroutine

end program
