// Connection strings for tenants, as keyword/value pairs that libpq reads.
#include "provision/provision.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "postmaster/postmaster.h"
}

namespace insula {

static char *connection_base = nullptr;

void define_provision_settings() {
  DefineCustomStringVariable("insula.connection_base",
                             "Start of the connection strings that create_tenant returns, as keyword=value pairs.",
                             "Empty: host and port of the administrator's own connection.", &connection_base, "",
                             PGC_SUSET, 0, nullptr, nullptr, nullptr);
}

static void append_pair(StringInfo text, const char *keyword, const char *value) {
  appendStringInfo(text, "%s%s='", text->len ? " " : "", keyword);
  for (const char *at = value; *at; ++at) {
    if (*at == '\'' || *at == '\\') appendStringInfoChar(text, '\\');
    appendStringInfoChar(text, *at);
  }
  appendStringInfoChar(text, '\'');
}

// Appends the address at which this session's client reached the server.
static void append_own_address(StringInfo text) {
  const Port *port = MyProcPort;
  if (port && port->laddr.addr.ss_family != AF_UNIX) {
    char host[NI_MAXHOST];
    char service[NI_MAXSERV];
    if (getnameinfo(reinterpret_cast<const struct sockaddr *>(&port->laddr.addr), port->laddr.salen, host, sizeof host,
                    service, sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
      append_pair(text, "host", host);
      append_pair(text, "port", service);
      return;
    }
  }
  // Takes the first directory of the list, without its quotes.
  const char *directories = GetConfigOption("unix_socket_directories", true, false);
  if (directories && directories[0]) {
    char *first = pstrdup(directories);
    first[strcspn(first, ",")] = '\0';
    append_pair(text, "host", first);
  }
  append_pair(text, "port", GetConfigOption("port", false, false));
}

char *connection_string(const char *username, const char *password) {
  StringInfoData text;
  initStringInfo(&text);
  if (connection_base && connection_base[0])
    appendStringInfoString(&text, connection_base);
  else
    append_own_address(&text);
  append_pair(&text, "dbname", get_database_name(MyDatabaseId));
  append_pair(&text, "user", username);
  if (password) append_pair(&text, "password", password);
  return text.data;
}

}  // namespace insula
