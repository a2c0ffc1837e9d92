# Writes a C++ source that holds the dashboard's files, each as an array: cmake -DDIRECTORY=... -DOUTPUT=... -P this.
set(types .html text/html .js text/javascript .css text/css .svg image/svg+xml .txt text/plain)
file(GLOB_RECURSE paths RELATIVE ${DIRECTORY} ${DIRECTORY}/*)
set(arrays "")
set(list "")
set(number 0)
foreach(path IN LISTS paths)
  cmake_path(GET path EXTENSION LAST_ONLY extension)
  list(FIND types "${extension}" at)
  if(at LESS 0)
    continue()
  endif()
  math(EXPR at "${at} + 1")
  list(GET types ${at} type)
  file(READ ${DIRECTORY}/${path} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "constexpr unsigned char file_${number}[] = {${bytes}0};\n")
  string(APPEND list "    {\"/${path}\", \"${type}\",\n     {reinterpret_cast<const char*>(file_${number}), sizeof file_${number} - 1}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Made by cmake/EmbedFiles.cmake.
#include \"dashboard/files.hpp\"

namespace insula::cli::dashboard {

namespace {

${arrays}
const File all_files[] = {
${list}};

}  // namespace

std::span<const File> files() { return all_files; }

}  // namespace insula::cli::dashboard
")
