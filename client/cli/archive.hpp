// A tenant's archive: a tar file that only its owner can read. It holds tables as COPY writes them, then manifest.json,
// which describes them, and last SHA256SUMS of all before it, as sha256sum writes it: `tar -xf` and `sha256sum -c`
// do without this program.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace insula::cli {

struct Digest;  // SHA-256, as it is added to
struct DigestCloser {
  void operator()(Digest* digest) const;
};

struct Member {
  std::string name;
  std::uint64_t size = 0;
  std::uint64_t lines = 0;
  std::string sha256;
};

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

// Writes beside the file, which appears when all is written. One that exists is refused.
class ArchiveWriter {
 public:
  explicit ArchiveWriter(std::string path);
  ~ArchiveWriter();
  ArchiveWriter(const ArchiveWriter&) = delete;
  ArchiveWriter& operator=(const ArchiveWriter&) = delete;

  void begin(const std::string& name);
  void write(std::string_view data);
  const Member& end();
  void finish();  // adds SHA256SUMS

 private:
  void put(std::string_view data);
  void add(const std::string& name, std::string_view text);

  std::string path_, part_;
  File file_;
  std::unique_ptr<Digest, DigestCloser> digest_;
  std::vector<Member> members_;
  std::uint64_t header_at_ = 0;
};

// Reads the whole file and throws unless each member is there, once, in order, and is what SHA256SUMS says. A member
// that is read again must be the same.
class Archive {
 public:
  Archive(const std::string& path, const std::vector<std::string>& names);

  const Member& member(const std::string& name) const;
  std::string text(const std::string& name) const;  // of a small one
  void read(const std::string& name, const std::function<void(std::string_view)>& take) const;

 private:
  struct Place {
    Member member;
    std::uint64_t at = 0;
  };
  const Place& place(const std::string& name) const;
  bool read_header(std::uint64_t at, Place* place) const;
  void each_chunk(const Place& place, const std::function<void(std::string_view)>& take) const;
  void check_sums() const;

  std::string path_;
  File file_;
  std::vector<Place> places_;
};

}  // namespace insula::cli
