// The page's files, linked into the program; cmake/EmbedFiles.cmake writes the list from page/.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace insula::cli::dashboard {

struct File {
  std::string_view path;  // as "/app.js"
  std::string_view type;
  std::string_view content;
};

std::span<const File> files();

}  // namespace insula::cli::dashboard
