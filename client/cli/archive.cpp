#include "archive.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "failure.hpp"
#include "session.hpp"

namespace insula::cli {

struct Digest {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  Member member;
};

void DigestCloser::operator()(Digest* digest) const {
  EVP_MD_CTX_free(digest->context);
  delete digest;
}

namespace {

constexpr std::size_t block = 512;
constexpr auto sums_name = "SHA256SUMS";
// Of what is read as a whole.
constexpr std::uint64_t most_text = 64 * 1024 * 1024;

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Failure(Exit::failed, path + ": " + what);
}

[[noreturn]] void fail_by_system(const std::string& path) { fail(path, std::strerror(errno)); }

[[noreturn]] void fail_by_presence(const std::string& path) { fail(path, "exists already"); }

// A file that has come there since is not replaced, unless the file system has no links.
void give_name(const std::string& part, const std::string& path) {
  if (link(part.c_str(), path.c_str()) == 0)
    unlink(part.c_str());
  else if (errno == EEXIST)
    fail_by_presence(path);
  else if (rename(part.c_str(), path.c_str()) != 0)
    fail_by_system(path);
}

// So that a name outlives a crash.
void sync_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 && errno == EACCES) return;  // it may be written but not read
  if (descriptor < 0) fail_by_system(directory);
  const int done = fsync(descriptor);
  close(descriptor);
  if (done != 0 && errno != EINVAL) fail_by_system(directory);
}

std::unique_ptr<Digest, DigestCloser> new_digest(const std::string& name) {
  std::unique_ptr<Digest, DigestCloser> digest{new Digest};
  digest->member.name = name;
  if (!digest->context || EVP_DigestInit_ex(digest->context, EVP_sha256(), nullptr) != 1)
    throw Failure(Exit::failed, "SHA-256 is not to be had");
  return digest;
}

void add_to(Digest& digest, std::string_view data) {
  EVP_DigestUpdate(digest.context, data.data(), data.size());
  digest.member.size += data.size();
  digest.member.lines += static_cast<std::uint64_t>(std::count(data.begin(), data.end(), '\n'));
}

Member finished(Digest& digest) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned int count = 0;
  EVP_DigestFinal_ex(digest.context, bytes.data(), &count);
  for (unsigned int i = 0; i < count; ++i) {
    constexpr std::string_view digits = "0123456789abcdef";
    digest.member.sha256 += digits[bytes[i] >> 4U];
    digest.member.sha256 += digits[bytes[i] & 15U];
  }
  return digest.member;
}

// ---- tar ----

// Where the fields of a header begin, and how long they are.
struct TarField {
  std::size_t at, length;
};
constexpr TarField name_field{0, 100}, mode_field{100, 8}, size_field{124, 12}, time_field{136, 12}, sum_field{148, 8},
    type_field{156, 1}, magic_field{257, 8};

using Header = std::array<unsigned char, block>;

void put_text(Header& header, TarField field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), field.length), header.begin() + static_cast<long>(field.at));
}

void put_octal(Header& header, TarField field, std::uint64_t number) {
  for (std::size_t i = field.length - 1; i-- > 0; number >>= 3U)
    header[field.at + i] = static_cast<unsigned char>('0' + (number & 7U));
}

// Numbers that need more than 11 octal digits are binary, as GNU tar has them.
void put_size(Header& header, std::uint64_t size) {
  if (size >> 33U == 0) return put_octal(header, size_field, size);
  header[size_field.at] = 0x80;
  for (std::size_t i = size_field.length; i-- > 1; size >>= 8U)
    header[size_field.at + i] = static_cast<unsigned char>(size & 255U);
}

std::uint64_t number_of(const Header& header, TarField field) {
  std::uint64_t number = 0;
  const bool binary = (header[field.at] & 0x80U) != 0;
  for (std::size_t i = binary ? 1 : 0; i < field.length; ++i) {
    const unsigned char digit = header[field.at + i];
    if (binary)
      number = number << 8U | digit;
    else if (digit >= '0' && digit <= '7')
      number = number << 3U | static_cast<std::uint64_t>(digit - '0');
  }
  return number;
}

// With blanks in the place of the sum itself.
std::uint64_t sum_of(const Header& header) {
  const auto sum = std::accumulate(header.begin(), header.end(), std::uint64_t{0});
  const auto begin = header.begin() + static_cast<long>(sum_field.at);
  return std::accumulate(begin, begin + static_cast<long>(sum_field.length), sum,
                         [](std::uint64_t left, unsigned char byte) { return left - byte; }) +
         std::uint64_t{' '} * sum_field.length;
}

Header header_of(const Member& member) {
  Header header{};
  put_text(header, name_field, member.name);
  put_octal(header, mode_field, 0600);
  put_size(header, member.size);
  put_octal(header, time_field, 0);
  put_text(header, type_field, "0");
  put_text(header, magic_field, std::string_view("ustar\00000", 8));
  put_octal(header, {sum_field.at, sum_field.length - 1}, sum_of(header));
  return header;
}

std::uint64_t padded(std::uint64_t size) { return (size + block - 1) / block * block; }

}  // namespace

// ---- writing ----

ArchiveWriter::ArchiveWriter(std::string path) : path_(std::move(path)), part_(path_ + ".part") {
  struct stat found;
  if (lstat(path_.c_str(), &found) == 0) fail_by_presence(path_);
  const int descriptor = open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0 && errno == EEXIST)
    throw Failure(Exit::failed, part_ + ": exists already",
                  "HINT:  Another export writes it, or one was cut off and has left it: then remove it.\n");
  if (descriptor < 0) fail_by_system(part_);
  file_.reset(fdopen(descriptor, "w"));
}

ArchiveWriter::~ArchiveWriter() {
  if (file_) unlink(part_.c_str());
}

void ArchiveWriter::put(std::string_view data) {
  if (std::fwrite(data.data(), 1, data.size(), file_.get()) != data.size()) fail_by_system(part_);
}

void ArchiveWriter::begin(const std::string& name) {
  header_at_ = static_cast<std::uint64_t>(ftello(file_.get()));
  digest_ = new_digest(name);
  put(std::string(block, '\0'));
}

void ArchiveWriter::write(std::string_view data) {
  add_to(*digest_, data);
  put(data);
}

const Member& ArchiveWriter::end() {
  members_.push_back(finished(*digest_));
  const Member& member = members_.back();
  put(std::string(padded(member.size) - member.size, '\0'));
  const Header header = header_of(member);
  if (fseeko(file_.get(), static_cast<off_t>(header_at_), SEEK_SET) != 0) fail_by_system(part_);
  put({reinterpret_cast<const char*>(header.data()), header.size()});
  if (fseeko(file_.get(), 0, SEEK_END) != 0) fail_by_system(part_);
  return member;
}

void ArchiveWriter::add(const std::string& name, std::string_view text) {
  begin(name);
  write(text);
  end();
}

void ArchiveWriter::finish() {
  std::string sums;
  for (const Member& member : members_) sums += member.sha256 + "  " + member.name + "\n";
  add(sums_name, sums);
  put(std::string(2 * block, '\0'));
  if (std::fflush(file_.get()) != 0 || fsync(fileno(file_.get())) != 0) fail_by_system(part_);
  give_name(part_, path_);
  file_.reset();
  sync_directory(path_);
}

// ---- reading ----

Archive::Archive(const std::string& path, const std::vector<std::string>& names)
    : path_(path), file_(std::fopen(path.c_str(), "re")) {
  if (!file_) fail_by_system(path_);
  std::uint64_t at = 0;
  for (Place place; read_header(at, &place); place = {}) {
    at = place.at + padded(place.member.size);
    places_.push_back(place);
  }
  std::vector<std::string> wanted = names;
  wanted.emplace_back(sums_name);
  const bool complete =
      std::equal(places_.begin(), places_.end(), wanted.begin(), wanted.end(),
                 [](const Place& found, const std::string& name) { return found.member.name == name; });
  if (!complete) fail(path_, "is no archive of a tenant, or is incomplete");
  for (Place& found : places_) {
    const auto digest = new_digest(found.member.name);
    each_chunk(found, [&](std::string_view data) { add_to(*digest, data); });
    found.member = finished(*digest);
  }
  check_sums();
}

bool Archive::read_header(std::uint64_t at, Place* place) const {
  Header header;
  if (fseeko(file_.get(), static_cast<off_t>(at), SEEK_SET) != 0 ||
      std::fread(header.data(), 1, block, file_.get()) != block)
    return false;
  if (number_of(header, sum_field) != sum_of(header)) return false;
  const auto* name = reinterpret_cast<const char*>(header.data());
  place->member.name.assign(name, strnlen(name, name_field.length));
  place->member.size = number_of(header, size_field);
  place->at = at + block;
  return place->member.size < std::uint64_t{1} << 60U;
}

void Archive::each_chunk(const Place& place, const std::function<void(std::string_view)>& take) const {
  if (fseeko(file_.get(), static_cast<off_t>(place.at), SEEK_SET) != 0) fail_by_system(path_);
  std::array<char, 65536> buffer;
  for (std::uint64_t left = place.member.size; left > 0;) {
    if (interrupted()) throw Failure(Exit::interrupted, "interrupted");
    const std::size_t got = std::fread(
        buffer.data(), 1, static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size())), file_.get());
    if (got == 0) fail(path_, "is incomplete");
    take({buffer.data(), got});
    left -= got;
  }
}

const Archive::Place& Archive::place(const std::string& name) const {
  const auto found =
      std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.member.name == name; });
  if (found == places_.end()) fail(path_, "has no " + name);
  return *found;
}

const Member& Archive::member(const std::string& name) const { return place(name).member; }

void Archive::read(const std::string& name, const std::function<void(std::string_view)>& take) const {
  const Place& found = place(name);
  const auto digest = new_digest(name);
  each_chunk(found, [&](std::string_view data) {
    add_to(*digest, data);
    take(data);
  });
  if (finished(*digest).sha256 != found.member.sha256) fail(path_, name + " has changed since it was verified");
}

std::string Archive::text(const std::string& name) const {
  if (member(name).size > most_text) fail(path_, name + " is too large");
  std::string text;
  read(name, [&](std::string_view data) { text += data; });
  return text;
}

void Archive::check_sums() const {
  std::string sums;
  for (const Place& found : places_)
    if (found.member.name != sums_name) sums += found.member.sha256 + "  " + found.member.name + "\n";
  const std::string written = text(sums_name);
  if (written == sums) return;
  for (const Place& found : places_)
    if (found.member.name != sums_name &&
        written.find(found.member.sha256 + "  " + found.member.name + "\n") == std::string::npos)
      fail(path_, found.member.name + " is not what was exported: its SHA-256 differs");
  fail(path_, std::string(sums_name) + " is not what was exported");
}

}  // namespace insula::cli
