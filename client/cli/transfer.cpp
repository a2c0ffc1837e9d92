// insula tenant export, verify, import: a tenant as one file. The tables hold local numbers, so they are loaded into a
// tenant that is made anew, with the views and the number of its new home.
#include <nlohmann/json.hpp>

#include "archive.hpp"
#include "program.hpp"

namespace insula::cli {

namespace {

// Sorted: one with many keys, which a manifest can have, is read as fast as its size lets it.
using Json = nlohmann::json;

constexpr int format = 1;
constexpr auto manifest_name = "manifest.json";

struct TableFile {
  const char *table, *file, *order;
};
constexpr TableFile tables[] = {{"work", "work.copy", "id"}, {"record", "record.copy", "kind, owner, name, seq"}};

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char character : name) out += character == '"' ? "\"\"" : std::string(1, character);
  return out + '"';
}

std::string list_of(const Json& columns) {
  std::string list;
  for (const auto& column : columns) list += (list.empty() ? "" : ", ") + quoted(column.get<std::string>());
  return list;
}

Json json_of(const Cell& cell) { return cell ? Json(*cell) : Json(nullptr); }

Cell cell_of_json(const Json& json) { return json.is_null() ? Cell{} : Cell{json.get<std::string>()}; }

// Each row an object of texts.
Json rows_of(const Table& table) {
  Json rows = Json::array();
  for (const auto& row : table.rows) {
    Json& object = rows.emplace_back(Json::object());
    for (std::size_t i = 0; i < row.size(); ++i) object[table.columns[i].name] = json_of(row[i]);
  }
  return rows;
}

// Texts of values that any server reads alike.
void settle_session(Program& program) {
  for (const auto& [name, value] : {std::pair{"search_path", "pg_catalog, pg_temp"},
                                    {"client_encoding", "UTF8"},
                                    {"datestyle", "ISO, YMD"},
                                    {"intervalstyle", "postgres"},
                                    {"timezone", "UTC"},
                                    {"bytea_output", "hex"},
                                    {"row_security", "off"},
                                    {"extra_float_digits", "3"}})
    program.query("SELECT pg_catalog.set_config($1, $2, true)", {name, value});
}

bool is_superuser(Program& program) {
  return program.query("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").value() == "t";
}

// insula_owner has the tables, and no member: an administrator needs PostgreSQL's own rights to all data.
void require_roles(Program& program, const char* roles, const std::string& otherwise) {
  const Table found = program.query(
      "SELECT pg_catalog.bool_and(pg_catalog.pg_has_role(r, 'USAGE')) FROM pg_catalog.unnest($1::name[]) r", {roles});
  if (found.value() != "t") throw Failure(Exit::failed, otherwise);
}

// A restored database may hold anything by these names: a view's functions must not run as a superuser.
void become_owner(Program& program) {
  if (is_superuser(program)) program.query("SET LOCAL ROLE insula_owner");
}

// ---- export ----

Json describe(Program& program, const std::string& tenant) {
  const Table found = program.query(
      "SELECT v.tenant, v.schema_name, v.username, t.login, v.status, v.layout_version, v.created_at, v.max_running, "
      "v.max_queued, v.max_connections, v.weight, v.rate_per_second, v.retain, v.retain_count FROM insula.tenants v "
      "JOIN insula.tenant t USING (tenant) WHERE v.tenant = $1",
      {tenant});
  if (found.rows.empty()) throw Failure(Exit::not_found, "tenant \"" + tenant + "\" does not exist");
  Json manifest;
  manifest["format"] = format;
  manifest["insula_version"] =
      program.query("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'insula'").value();
  manifest["server_version"] = program.query("SELECT current_setting('server_version')").value();
  manifest["exported_at"] = program.query("SELECT now()").value();
  manifest["tenant"] = rows_of(found).front();
  manifest["retention"] = rows_of(
      program.query("SELECT workflow, status, retain FROM insula.retention WHERE tenant = $1 ORDER BY 1, 2", {tenant}));
  return manifest;
}

Json columns_of(Program& program, const std::string& schema, const char* table) {
  program.query("LOCK TABLE " + quoted(schema) + "." + table + " IN ACCESS SHARE MODE");
  Json columns = Json::array();
  for (const auto& row : program
                             .query("SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON "
                                    "c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE "
                                    "n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r' AND c.relowner = "
                                    "'insula_owner'::pg_catalog.regrole AND a.attnum > 0 AND NOT a.attisdropped ORDER "
                                    "BY a.attnum",
                                    {schema, table})
                             .rows)
    columns.push_back(row[0].value_or(""));
  if (columns.empty())
    throw Failure(Exit::failed, quoted(schema) + "." + table + " is not a table of insula_owner",
                  "HINT:  SELECT * FROM insula.reconcile() tells what is wrong with the tenant.\n");
  return columns;
}

// Not a view, which would run code of its own.
void require_sequence(Program& program, const std::string& schema) {
  if (program
          .query("SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE "
                 "n.nspname = $1 AND c.relname = 'id' AND c.relkind = 'S' AND c.relowner = "
                 "'insula_owner'::pg_catalog.regrole",
                 {schema})
          .rows.empty())
    throw Failure(Exit::failed, quoted(schema) + ".id is not a sequence of insula_owner",
                  "HINT:  SELECT * FROM insula.reconcile() tells what is wrong with the tenant.\n");
}

int export_tenant(Program& program, const std::string& tenant, const std::string& path) {
  if (path == "-")
    throw Failure(Exit::usage, "an export wants a file, and cannot write to the standard output",
                  "HINT:  ./- is a file of that name.\n");
  require_roles(program, "{pg_read_all_data}",
                "an export needs a superuser, or a member of insula_admin and pg_read_all_data");
  ArchiveWriter archive{path};
  // All of one moment.
  program.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
  settle_session(program);
  Json manifest = describe(program, tenant);
  const auto schema = manifest["tenant"]["schema_name"].get<std::string>();
  become_owner(program);
  require_sequence(program, schema);
  manifest["last_value"] = program.query("SELECT last_value FROM " + quoted(schema) + ".id").value();
  Table shown;
  shown.columns = {{"table", 25}, {"rows", 20}, {"bytes", 20}, {"sha256", 25}};
  for (const TableFile& table : tables) {
    const Json columns = columns_of(program, schema, table.table);
    archive.begin(table.file);
    program.session().copy_out("COPY (SELECT " + list_of(columns) + " FROM " + quoted(schema) + "." + table.table +
                                   " ORDER BY " + table.order + ") TO STDOUT",
                               [&](std::string_view row) { archive.write(row); });
    const Member& member = archive.end();
    manifest["tables"][table.table] = {{"file", table.file},
                                       {"columns", columns},
                                       {"rows", member.lines},
                                       {"bytes", member.size},
                                       {"sha256", member.sha256}};
    shown.rows.push_back({table.table, std::to_string(member.lines), std::to_string(member.size), member.sha256});
  }
  program.query("COMMIT");
  archive.begin(manifest_name);
  archive.write(manifest.dump(2) + "\n");
  archive.end();
  archive.finish();
  program.show(shown);
  return 0;
}

// ---- verify ----

[[noreturn]] void fail_manifest(const std::string& path, const Json::exception& error) {
  throw Failure(Exit::failed, path + ": the manifest cannot be read: " + error.what());
}

Json manifest_of(const Archive& archive, const std::string& path) {
  try {
    Json manifest = Json::parse(archive.text(manifest_name));
    if (manifest.at("format") != format)
      throw Failure(Exit::failed, path + ": has format " + manifest.at("format").dump() + ", this program reads " +
                                      std::to_string(format));
    for (const TableFile& table : tables) {
      const Json& told = manifest.at("tables").at(table.table);
      const Member& member = archive.member(table.file);
      if (told.at("sha256") != member.sha256 || told.at("rows") != member.lines || told.at("bytes") != member.size)
        throw Failure(Exit::failed, path + ": " + table.file + " is not what the manifest says");
    }
    return manifest;
  } catch (const Json::exception& error) {
    fail_manifest(path, error);
  }
}

Archive open_archive(const std::string& path) { return {path, {tables[0].file, tables[1].file, manifest_name}}; }

int verify(Program& program, const std::string& path) {
  const Archive archive = open_archive(path);
  const Json manifest = manifest_of(archive, path);
  Table shown;
  std::vector<Cell> row;
  const auto add = [&](const char* name, Cell cell) {
    shown.columns.push_back({name, 25});
    row.push_back(std::move(cell));
  };
  for (const char* name : {"insula_version", "server_version", "exported_at"})
    add(name, cell_of_json(manifest.at(name)));
  for (const char* name : {"tenant", "schema_name", "username", "status", "layout_version"})
    add(name, cell_of_json(manifest.at("tenant").at(name)));
  for (const TableFile& table : tables) add(table.table, std::to_string(archive.member(table.file).lines));
  shown.rows = {row};
  program.show_record(shown);
  return 0;
}

// ---- import ----

// The names may be other ones here.
struct Target {
  std::string path, tenant, schema, username;
};

void require_same_version(Program& program, const Json& manifest) {
  const std::string here =
      program.query("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'insula'").value();
  const auto there = manifest.at("insula_version").get<std::string>();
  if (here.empty()) throw Failure(Exit::failed, "the extension is not in this database", "HINT:  insula init\n");
  if (here != there)
    throw Failure(Exit::failed, "the archive is of version " + there + ", and the extension here of " + here,
                  "HINT:  Upgrade the older one first.\n");
}

void make_tenant(Program& program, const Json& manifest, const Target& target) {
  const Json& told = manifest.at("tenant");
  const bool login = told.at("login") == "t";
  const Cell username = told.at("username").is_null() ? Cell{} : Cell{target.username};
  program.query("SELECT FROM insula.create_tenant($1, $2, $3, login => $4::boolean)",
                {target.tenant, target.schema, username, login ? "true" : "false"});
  const std::string layout =
      program.query("SELECT layout_version FROM insula.tenants WHERE tenant = $1", {target.tenant}).value();
  if (told.at("layout_version") != layout)
    throw Failure(
        Exit::failed,
        "the archive has layout " + told.at("layout_version").get<std::string>() + ", tenants here have " + layout,
        "HINT:  Run insula.upgrade_tenants() there, and export again.\n");
  std::vector<Cell> limits{target.tenant};
  for (const char* name :
       {"max_running", "max_queued", "max_connections", "weight", "rate_per_second", "retain", "retain_count"})
    limits.push_back(cell_of_json(told.at(name)));
  program.query(
      "SELECT insula.set_tenant_limits($1, $2::int, $3::bigint, $4::int, $5::int, $6::float8, $7::interval, "
      "$8::bigint)",
      limits);
  for (const Json& rule : manifest.at("retention"))
    program.query("SELECT insula.set_retention($1, coalesce($2::interval, '-1 s'), $3, $4)",
                  {target.tenant, cell_of_json(rule.at("retain")), cell_of_json(rule.at("workflow")),
                   cell_of_json(rule.at("status"))});
  program.query("SELECT insula.suspend_tenant($1)", {target.tenant});
}

void load(Program& program, const Archive& archive, const Json& manifest, const std::string& schema) {
  become_owner(program);
  for (const TableFile& table : tables) {
    const Json& columns = manifest.at("tables").at(table.table).at("columns");
    if (columns != columns_of(program, schema, table.table))
      throw Failure(Exit::failed, std::string("table ") + table.table + " of the archive has other columns than here");
    program.session().copy_in("COPY " + quoted(schema) + "." + table.table + " (" + list_of(columns) + ") FROM STDIN",
                              [&](const Session::Send& send) { archive.read(table.file, send); });
  }
  program.query(
      "SELECT pg_catalog.setval(s.id::pg_catalog.regclass, greatest($1::bigint, pg_catalog.nextval("
      "s.id::pg_catalog.regclass))) FROM (SELECT pg_catalog.format('%I.id', $2::text) AS id) s",
      {manifest.at("last_value").get<std::string>(), schema});
}

int import_from(Program& program, const Archive& archive, const Json& manifest, Target target) {
  const Json& told = manifest.at("tenant");
  if (target.schema.empty())
    target.schema = target.tenant.empty() ? told.at("schema_name").get<std::string>() : "tenant_" + target.tenant;
  if (target.username.empty())
    target.username = target.tenant.empty() ? cell_of_json(told.at("username")).value_or("") : target.tenant + "_user";
  if (target.tenant.empty()) target.tenant = told.at("tenant").get<std::string>();
  program.confirm("Import tenant " + target.tenant + "?");
  require_roles(program, "{pg_read_all_data,pg_write_all_data}",
                "an import needs a superuser, or a member of insula_admin, pg_read_all_data and pg_write_all_data");
  require_same_version(program, manifest);
  // One transaction: a failure leaves nothing.
  program.query("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE");
  settle_session(program);
  make_tenant(program, manifest, target);
  load(program, archive, manifest, target.schema);
  program.query("COMMIT");
  program.say(
      "imported, suspended: insula tenant resume " + target.tenant + " lets it work" +
      (told.at("login") == "t" ? ", insula tenant rotate " + target.tenant + " gives its login a password" : ""));
  return 0;
}

int import_tenant(Program& program, const Target& target) {
  const Archive archive = open_archive(target.path);
  const Json manifest = manifest_of(archive, target.path);
  try {
    return import_from(program, archive, manifest, target);
  } catch (const Json::exception& error) {
    fail_manifest(target.path, error);
  }
}

}  // namespace

void add_transfer_commands(CLI::App& group, Program& program) {
  auto target = std::make_shared<Target>();
  CLI::App* exported = add_command(group, program, "export", "Write it to a file that only you can read",
                                   [=, &program] { return export_tenant(program, target->tenant, target->path); });
  exported->add_option("name", target->tenant, "The tenant")->required();
  exported->add_option("file", target->path, "The file; one that exists is refused")->required();
  CLI::App* verified = add_command(
      group, program, "verify", "Check such a file, without a server",
      [=, &program] { return verify(program, target->path); }, Needs::nothing);
  verified->add_option("file", target->path, "The file")->required();
  CLI::App* imported = add_command(group, program, "import", "Make the tenant of such a file; it comes in suspended",
                                   [=, &program] { return import_tenant(program, *target); });
  imported->add_option("file", target->path, "The file")->required();
  imported->add_option("--as", target->tenant, "Its name here; else the one that it had");
  imported->add_option("--schema", target->schema, "Its schema here");
  imported->add_option("--user", target->username, "Its login here; another cluster may keep the name");
}

}  // namespace insula::cli
