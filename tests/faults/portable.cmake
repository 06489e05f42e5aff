# For the builds of plant.py: a processor without instances of its own, so that one kernel file is compiled instead of four.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR generic)
