// A PostgreSQL server process on a directory of its own; the base of Cluster.  Needs nothing of
// the library but its error type.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace insula::testing {

class Server {
 public:
  // Makes the cluster, starts it, waits until it takes connections.
  Server(const std::filesystem::path& bindir, const std::vector<std::string>& settings);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const std::filesystem::path& directory() const noexcept { return directory_; }  // of the socket, too

 private:
  void make_cluster(const std::vector<std::string>& settings);
  void start();
  void wait_until_ready();
  void stop() noexcept;
  std::string log_tail() const;

  const std::filesystem::path bindir_;
  std::filesystem::path directory_;
  pid_t pid_ = -1;
};

inline constexpr const char* missing_extension =
    "the PostgreSQL of ClusterOptions::bindir, INSULA_PGBIN or PG_CONFIG has no extension insula: run `make install "
    "PG_CONFIG=...` for it, or set INSULA_PGBIN to the directory that scripts/server-tree.sh prints";

// The directory of the server's programs; see ClusterOptions::bindir.
std::filesystem::path find_bindir(const std::filesystem::path& given);

}  // namespace insula::testing
