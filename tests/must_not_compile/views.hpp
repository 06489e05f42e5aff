/// \file
/// Views for the calls of this folder: right ones, and their makings. Nothing here is ever linked.
#pragma once

#include <span>
#include <vector>

#include <pantile/attention.hpp>
#include <pantile/cuda.hpp>

template <class T>
pantile::tensor_view<T> tensor() {
    return pantile::bshd<T>(nullptr, 1, 1, 1, 1);
}
template <class T>
pantile::row_view<T> rows() {
    return pantile::bhs<T>(nullptr, 1, 1, 1);
}
template <class T>
pantile::device_view<T> on_gpu() {
    return pantile::on_device(tensor<T>());
}
template <class T>
pantile::device_row_view<T> rows_on_gpu() {
    return pantile::on_device(rows<T>());
}
template <class T>
pantile::partial_view<T> part() {
    return {tensor<T>(), rows<T>(), rows<T>()};
}
template <class T>
pantile::device_partial_view<T> part_on_gpu() {
    return {on_gpu<T>(), rows_on_gpu<T>(), rows_on_gpu<T>()};
}
