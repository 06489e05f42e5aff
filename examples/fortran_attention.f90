! Attention from Fortran: double precision, causal, held against the formula; the same with ALiBi and sinks; and the message of a
! call that does not fit.
program fortran_attention
  use pantile
  implicit none
  integer(c_int64_t), parameter :: batch = 1, length = 24, heads = 4, dim = 8
  ! In memory [batch][length][heads][dim]: Fortran's first index moves fastest.
  real(c_double), target :: q(dim, heads, length, batch), k(dim, heads, length, batch), v(dim, heads, length, batch)
  real(c_double), target :: out(dim, heads, length, batch), lse(length, heads, batch)
  real(c_double), target :: slopes(heads) = [0.5d0, 0.25d0, 0.125d0, 0.0625d0], sinks(heads) = [1d0, 0d0, -1d0, 2d0]
  real(c_double) :: worst
  type(pantile_tensor) :: tq, tk, tv
  type(pantile_results) :: results
  type(pantile_options) :: options
  type(pantile_explanation) :: explanation

  call random_number(q)
  call random_number(k)
  call random_number(v)
  tq = view(q)
  tk = view(k)
  tv = view(v)
  results%size = c_sizeof(results)
  results%out = view(out)
  results%lse = pantile_bhs(c_loc(lse), pantile_fp64, batch, heads, length)
  options%size = c_sizeof(options)
  options%mask = pantile_causal(pantile_bottom_right)

  if (pantile_attention(tq, tk, tv, results, options) /= pantile_ok) error stop pantile_message()

  worst = largest_difference(.false.)
  print '(a, es9.2)', 'largest difference from the formula:', worst
  if (worst > 1e-13) error stop 'the answer is wrong'

  ! A distance from the row costs slope·distance; a sink takes part in every sum, and has no value.
  options%slopes = pantile_head_numbers(c_loc(slopes), heads, pantile_fp64, pantile_host)
  options%sinks = pantile_head_numbers(c_loc(sinks), heads, pantile_fp64, pantile_host)
  if (pantile_attention(tq, tk, tv, results, options) /= pantile_ok) error stop pantile_message()
  worst = largest_difference(.true.)
  print '(a, es9.2)', 'the same with slopes and sinks:      ', worst
  if (worst > 1e-13) error stop 'the answer with slopes and sinks is wrong'

  ! Without options: every key for every row.
  explanation%size = c_sizeof(explanation)
  if (pantile_explain(tq, tk, tv, explanation=explanation) /= pantile_ok) error stop pantile_message()
  print '(a, f0.0)', 'FLOP without the mask: ', explanation%flops
  if (nint(explanation%flops, c_int64_t) /= 4*dim*heads*length**2) error stop 'the explanation is wrong'

  tk%extent(4) = dim - 1
  if (pantile_attention(tq, tk, tv, results) /= pantile_invalid_argument) error stop 'a wrong head dim was taken'
  print '(a)', pantile_message()
  if (pantile_message() /= 'pantile: k.head_dim is 7, q.head_dim is 8: they must be equal') error stop 'another text'

contains

  !> Of out and lse, from the formula.
  function largest_difference(slopes_and_sinks) result(largest)
    logical, intent(in) :: slopes_and_sinks
    real(c_double) :: largest, weights(length), total
    integer :: h, i, j
    largest = 0
    do h = 1, int(heads)
      do i = 1, int(length)
        weights = 0
        do j = 1, i
          weights(j) = dot_product(q(:, h, i, 1), k(:, h, j, 1))/sqrt(real(dim, c_double))
          if (slopes_and_sinks) weights(j) = weights(j) - slopes(h)*(i - j)
          weights(j) = exp(weights(j))
        end do
        total = sum(weights)
        if (slopes_and_sinks) total = total + exp(sinks(h))
        largest = max(largest, maxval(abs(out(:, h, i, 1) - matmul(v(:, h, :, 1), weights)/total)), &
                      abs(lse(i, h, 1) - log(total)))
      end do
    end do
  end function

  function view(x) result(tensor)
    real(c_double), intent(in), target :: x(:, :, :, :)
    type(pantile_tensor) :: tensor
    tensor = pantile_bshd(c_loc(x), pantile_fp64, size(x, 4, c_int64_t), size(x, 3, c_int64_t), &
                          size(x, 2, c_int64_t), size(x, 1, c_int64_t))
  end function

end program
