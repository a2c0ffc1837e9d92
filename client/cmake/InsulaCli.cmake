# The command line, client/cli, and the page that it serves. CLI11 and toml++ are headers alone.
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)

# The page's files become a source, so that the program needs none beside it.
set(dashboard_page ${CMAKE_CURRENT_LIST_DIR}/../cli/dashboard/page)
set(dashboard_files ${CMAKE_CURRENT_BINARY_DIR}/dashboard_files.cpp)
file(GLOB_RECURSE page_files CONFIGURE_DEPENDS ${dashboard_page}/*)
add_custom_command(OUTPUT ${dashboard_files}
  COMMAND ${CMAKE_COMMAND} -DDIRECTORY=${dashboard_page} -DOUTPUT=${dashboard_files}
          -P ${CMAKE_CURRENT_LIST_DIR}/EmbedFiles.cmake
  DEPENDS ${page_files} ${CMAKE_CURRENT_LIST_DIR}/EmbedFiles.cmake
  VERBATIM)

file(GLOB cli_sources CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_LIST_DIR}/../cli/*.cpp ${CMAKE_CURRENT_LIST_DIR}/../cli/dashboard/*.cpp)
add_executable(insula_cli ${cli_sources} ${dashboard_files})
target_include_directories(insula_cli PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../cli)
set_target_properties(insula_cli PROPERTIES OUTPUT_NAME insula)
target_compile_definitions(insula_cli PRIVATE INSULA_VERSION="${PROJECT_VERSION}")
target_include_directories(insula_cli SYSTEM PRIVATE ${TOMLPLUSPLUS_INCLUDE_DIR})
target_link_libraries(insula_cli PRIVATE
  insula::insula insula::testing PostgreSQL::PostgreSQL nlohmann_json::nlohmann_json CLI11::CLI11
  OpenSSL::Crypto PkgConfig::httplib Threads::Threads)
target_compile_options(insula_cli PRIVATE ${warnings})
