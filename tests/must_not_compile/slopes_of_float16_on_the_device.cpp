// says: pantile: slopes and sinks are numbers of type float or double, one a query head (slopes also one a batch and query head)
#include "views.hpp"

void wrong_call() {
    const std::vector<pantile::float16> slopes(1);
    pantile::options o;
    o.slopes = pantile::on_device(std::span(slopes));
}
