# The command line, client/cli. CLI11 and toml++ are headers alone.
find_package(CLI11 REQUIRED)
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)

file(GLOB cli_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/../cli/*.cpp)
add_executable(insula_cli ${cli_sources})
set_target_properties(insula_cli PROPERTIES OUTPUT_NAME insula)
target_compile_definitions(insula_cli PRIVATE INSULA_VERSION="${PROJECT_VERSION}")
target_include_directories(insula_cli SYSTEM PRIVATE ${TOMLPLUSPLUS_INCLUDE_DIR})
target_link_libraries(insula_cli PRIVATE
  insula::insula insula::testing PostgreSQL::PostgreSQL nlohmann_json::nlohmann_json CLI11::CLI11)
target_compile_options(insula_cli PRIVATE ${warnings})
