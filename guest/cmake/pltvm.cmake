# CMake's toolchain file for enclaves: cmake -DCMAKE_TOOLCHAIN_FILE=$(pltvm build --print-sdk)/cmake/pltvm.cmake …
#
# The compiler is `pltvm build`; an executable is an enclave, NAME.elf. -DPLTVM_FLAGS=--check has memory errors found.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR riscv64)

find_program(PLTVM pltvm)
if(NOT PLTVM)
    message(FATAL_ERROR "no pltvm on the PATH: activate its environment, or add -DPLTVM=FILE")
endif()
find_program(PLTVM_AR NAMES riscv64-linux-gnu-ar llvm-ar ar REQUIRED)
set(PLTVM_FLAGS "" CACHE STRING "Further flags for compiling and linking, such as --check")

foreach(language C CXX ASM)
    set(CMAKE_${language}_COMPILER ${PLTVM} build)
    set(CMAKE_${language}_COMPILER_FORCED TRUE) # nothing to find out: it is this one
    set(CMAKE_${language}_FLAGS_INIT "${PLTVM_FLAGS}")
    set(CMAKE_${language}_FLAGS_DEBUG_INIT "-O0 -g")
    set(CMAKE_${language}_FLAGS_RELEASE_INIT "-O2")
endforeach()
set(CMAKE_ASM_COMPILER_ID Clang) # CMake asks six times, and finds nothing
set(CMAKE_AR ${PLTVM_AR})
set(CMAKE_RANLIB "") # the linker reads archives without an index
set(CMAKE_C_ARCHIVE_FINISH "")
set(CMAKE_CXX_ARCHIVE_FINISH "")
set(CMAKE_EXECUTABLE_SUFFIX .elf)
set(CMAKE_EXECUTABLE_SUFFIX_C .elf)
set(CMAKE_EXECUTABLE_SUFFIX_CXX .elf)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
