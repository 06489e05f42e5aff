#include <pantile/simulator.hpp>

pantile::simulator::workload made() { return pantile::simulator::workload::square(8, 8); }
