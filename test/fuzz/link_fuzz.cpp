// Any bytes as what a server sends over a connection: the pump of the client's link, with three
// statements under way.  It never hangs and never reads what is not there; each statement is
// told its end exactly once, or forgotten by close(); nothing is thrown.
//
// The server is a socket of this process's own.  An input's first letter says how the
// conversation begins: 'g' with a log-in and a greeting as they should be, anything else with
// the input itself.
#include "wire/conninfo.hpp"
#include "wire/link.hpp"
#include "wire/version.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace insula::wire;
using namespace std::chrono_literals;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

// Listens where libpq looks for a server.
class Server {
 public:
  Server() {
    std::array<char, 32> name{"/tmp/link_fuzz.XXXXXX"};
    require(mkdtemp(name.data()) != nullptr);
    directory_ = name.data();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_ = directory_ + "/.s.PGSQL.5432";
    std::copy(path_.begin(), path_.end(), address.sun_path);
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    require(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(listener_, 8) == 0);
  }
  ~Server() {
    close(listener_);
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const std::string& directory() const { return directory_; }

  // Sends `script` to the client that has connected, and hangs up.
  bool serve(std::string_view script) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (client < 0) return false;
    // All that fits the socket, which is more than inputs are.
    (void)!write(client, script.data(), script.size());
    shutdown(client, SHUT_WR);
    open_.push_back(client);
    return true;
  }
  void hang_up() {
    for (const int client : open_) close(client);
    open_.clear();
    while (serve("")) continue;
  }

 private:
  std::string directory_, path_;
  int listener_ = -1;
  std::vector<int> open_;
};

std::string message(char type, std::string_view body) {
  const auto size = static_cast<std::uint32_t>(body.size() + 4);
  std::string out{type};
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift & 255U);
  return out.append(body);
}

// A log-in without a password, and the answer to the question for the version.
std::string greeting() {
  using namespace std::string_literals;
  const std::string version{library_version};
  const std::string row = "\0\1\0\0\0"s + static_cast<char>(version.size()) + version;
  return message('R', "\0\0\0\0"s) + message('Z', "I") + message('1', "") + message('2', "") +
         message('T', "\0\1v\0\0\0\0\0\0\0\0\0\0\31\xff\xff\xff\xff\xff\xff\0\0"s) + message('D', row) +
         message('C', "SELECT 1\0"s) + message('Z', "I");
}

struct Conversation {
  int ups = 0;
  int told = 0;
  int sent = 0;
};

void converse(Server& server, const std::string& script) {
  const ConnInfo conninfo{"host=" + server.directory() + " port=5432 user=u dbname=d sslmode=disable"};
  Conversation talk;
  Link* link_seen = nullptr;
  Link link{conninfo,
            "fuzz",
            10s,
            {[&] {
               ++talk.ups;
               for (; talk.sent < 3; ++talk.sent)
                 link_seen->send(
                     {"SELECT 1"}, [&](const Reply&) { ++talk.told; }, 10s);
             },
             [](const insula::error&, bool) {}, [](std::string_view) {}}};
  link_seen = &link;
  link.open();
  link.pump(0, Clock::now() + 1s);
  bool served = false;
  // The connection ends with the script, and then no client connects again: the pause is not over.
  for (int turn = 0; turn < 10'000; ++turn) {
    served = served || server.serve(script);
    pollfd entry = link.poll_entry();
    if (entry.fd < 0) break;
    poll(&entry, 1, 1000);
    require(entry.revents != 0);  // else it waits for what will never come
    link.pump(entry.revents, Clock::now());
  }
  require(link.poll_entry().fd < 0 && !link.is_up());
  require(talk.told == talk.sent);
  link.close();
  server.hang_up();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Server server;
  if (size == 0 || size > 50'000) return 0;
  const std::string input(reinterpret_cast<const char*>(data) + 1, size - 1);
  converse(server, data[0] == 'g' ? greeting() + input : input);
  return 0;
}
