// says: no matching function
#include "../views.hpp"

void wrong_call() { pantile::attention(); }
