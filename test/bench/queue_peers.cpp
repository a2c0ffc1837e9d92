// The peers: graphile-worker and pg-boss in node, PgQ, and loops of plain SQL.  Each gets a
// database of its own, which is gone afterwards.
#include "bench.hpp"
#include "queue.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

const char* const database_name = "bench_peer";

class Peer : public Queue {
 public:
  explicit Peer(std::string name) : name_(std::move(name)) {}
  std::string name() const override { return name_; }
  bool is_peer() const override { return true; }
  std::string database() const override { return database_name; }

  void make() override {
    drop();
    Sql().value(fmt::format("CREATE DATABASE {}", database_name));
    create();
  }

  void drop() override { Sql().value(fmt::format("DROP DATABASE IF EXISTS {} WITH (FORCE)", database_name)); }

  bool has_unfinished() const override { return !Sql{database_name}.value(unfinished()).empty(); }

  void check(int jobs) const override {
    const std::string found = Sql{database_name}.value(finished());
    if (found != std::to_string(jobs) || has_unfinished())
      give_up(fmt::format("{}: of {} jobs {} were finished", name_, jobs, found));
  }

 protected:
  virtual void create() = 0;
  virtual std::string unfinished() const = 0;  // a row, if there are any
  virtual std::string finished() const = 0;    // how many

  // A statement that is given a thousand jobs at a time.
  void load_by(const std::string& statement, int jobs) {
    Sql sql{database_name};
    sql.prepare("load", statement);
    for (int n = 0; n < jobs; n += jobs_a_call)
      sql.execute("load", {jobs_array(n, std::min(jobs_a_call, jobs - n)).c_str()});
    loaded_ = jobs;
    sql.value("ANALYZE");
  }

  int loaded_ = 0;

 private:
  const std::string name_;
};

class Graphile : public Peer {
 public:
  Graphile() : Peer("graphile-worker") {}

  void load(int jobs) override {
    load_by(
        "SELECT count(*) FROM graphile_worker.add_jobs((SELECT array_agg(json_populate_record("
        "null::graphile_worker.job_spec, json_build_object('identifier', 'job', 'payload', p))) "
        "FROM unnest($1::jsonb[]) p))",
        jobs);
  }

  std::vector<Command> workers(Use use) const override {
    if (use == Use::pairs) return {peer_command("graphile", {database_name, "pairs"})};
    return {4, peer_command("graphile", {database_name, "drain"})};
  }

 protected:
  void create() override { run_to_end(peer_command("graphile", {database_name, "create"})); }
  std::string unfinished() const override { return "SELECT 1 FROM graphile_worker._private_jobs LIMIT 1"; }
  // It deletes them.
  std::string finished() const override {
    return fmt::format("SELECT {} - count(*) FROM graphile_worker._private_jobs", loaded_);
  }
};

class PgBoss : public Peer {
 public:
  PgBoss() : Peer("pg-boss") {}

  void load(int jobs) override {
    run_to_end(peer_command("pgboss", {database_name, "load", std::to_string(jobs)}));
    Sql{database_name}.value("ANALYZE");
  }

  std::vector<Command> workers(Use use) const override {
    if (use == Use::pairs) return {peer_command("pgboss", {database_name, "pairs", "8"})};
    return {4, peer_command("pgboss", {database_name, "drain", "1"})};
  }

 protected:
  void create() override { run_to_end(peer_command("pgboss", {database_name, "create"})); }
  std::string unfinished() const override { return "SELECT 1 FROM pgboss.job WHERE state < 'completed' LIMIT 1"; }
  std::string finished() const override { return "SELECT count(*) FROM pgboss.job WHERE state = 'completed'"; }
};

class Pgq : public Peer {
 public:
  Pgq() : Peer("PgQ") {}

  // A batch is what came between two ticks: 5,000 jobs.
  void load(int jobs) override {
    Sql sql{database_name};
    sql.value("SELECT pgq.ticker('q')");
    sql.prepare("load", "SELECT count(pgq.insert_event('q', 'job', p)) FROM unnest($1::text[]) p");
    for (int n = 0; n < jobs; n += jobs_a_call) {
      sql.execute("load", {jobs_array(n, std::min(jobs_a_call, jobs - n)).c_str()});
      if ((n / jobs_a_call) % 5 != 4 && n + jobs_a_call < jobs) continue;
      sql.value("SELECT pgq.force_tick('q')");
      sql.value("SELECT pgq.ticker('q')");
    }
    loaded_ = jobs;
    sql.value("ANALYZE");
  }

  // One consumer, which is how it is made to be used.
  std::vector<Command> workers(Use use) const override {
    if (use == Use::pairs) give_up("PgQ has no claim of a single job");
    return {worker_command(
        {"loop", database_name, "1", "SELECT b, 0 FROM pgq.next_batch('q', 'c') b WHERE b IS NOT NULL",
         "SELECT ev_id, ev_data FROM pgq.get_batch_events($1::bigint)", "SELECT pgq.finish_batch($1::bigint)"})};
  }

 protected:
  void create() override {
    Sql sql{database_name};
    sql.value("CREATE EXTENSION pgq");
    sql.value("SELECT pgq.create_queue('q')");
    sql.value("SELECT pgq.register_consumer('q', 'c')");
  }
  std::string unfinished() const override { return "SELECT b FROM pgq.next_batch('q', 'c') b WHERE b IS NOT NULL"; }
  // It knows no single jobs: the workers' count, which the drain compares, must do.
  std::string finished() const override { return fmt::format("SELECT {}", loaded_); }
};

class Bare : public Peer {
 public:
  Bare() : Peer("DELETE SKIP LOCKED") {}
  void load(int jobs) override { load_by("INSERT INTO job (payload) SELECT p FROM unnest($1::jsonb[]) p", jobs); }

  std::vector<Command> workers(Use use) const override {
    const bool pairs = use == Use::pairs;
    return {worker_command(
        {"loop", database_name, pairs ? "8" : "4",
         fmt::format("WITH d AS (DELETE FROM job WHERE id = ANY (ARRAY(SELECT id FROM job ORDER BY id LIMIT {} "
                     "FOR UPDATE SKIP LOCKED)) RETURNING payload) "
                     "SELECT nullif(count(*), 0), count(*), array_agg(payload) FROM d",
                     pairs ? 1 : 100)})};
  }

 protected:
  void create() override {
    Sql{database_name}.value("CREATE TABLE job (id bigserial PRIMARY KEY, payload jsonb NOT NULL)");
  }
  std::string unfinished() const override { return "SELECT 1 FROM job LIMIT 1"; }
  std::string finished() const override { return fmt::format("SELECT {} - count(*) FROM job", loaded_); }
};

class History : public Peer {
 public:
  History() : Peer("plpgsql with history") {}
  void load(int jobs) override { load_by("INSERT INTO job (payload) SELECT p FROM unnest($1::jsonb[]) p", jobs); }

  std::vector<Command> workers(Use use) const override {
    const bool pairs = use == Use::pairs;
    return {worker_command({"loop", database_name, pairs ? "8" : "4",
                            fmt::format("SELECT ids, cardinality(ids), payloads FROM claim({})", pairs ? 1 : 100),
                            "SELECT complete($1::bigint[])"})};
  }

 protected:
  void create() override {
    Sql{database_name}.value(R"(
      CREATE TABLE job (id bigserial PRIMARY KEY, payload jsonb NOT NULL, state text NOT NULL DEFAULT 'ready',
                        attempt int NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(),
                        started_at timestamptz, finished_at timestamptz);
      CREATE INDEX ON job (id) WHERE state = 'ready';
      CREATE FUNCTION claim(most int, OUT ids bigint[], OUT payloads jsonb[]) LANGUAGE plpgsql AS $$
      BEGIN
        WITH c AS (SELECT id FROM job WHERE state = 'ready' ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED),
             u AS (UPDATE job SET state = 'running', attempt = attempt + 1, started_at = now()
                   FROM c WHERE job.id = c.id RETURNING job.id, payload)
        SELECT array_agg(id), array_agg(payload) INTO ids, payloads FROM u;
      END $$;
      CREATE FUNCTION complete(done bigint[]) RETURNS int LANGUAGE plpgsql AS $$
      BEGIN
        UPDATE job SET state = 'completed', finished_at = now() WHERE id = ANY (done) AND state = 'running';
        RETURN cardinality(done);
      END $$)");
  }
  std::string unfinished() const override { return "SELECT 1 FROM job WHERE state <> 'completed' LIMIT 1"; }
  std::string finished() const override { return "SELECT count(*) FROM job WHERE state = 'completed' AND attempt = 1"; }
};

}  // namespace

std::unique_ptr<Queue> graphile_queue() { return std::make_unique<Graphile>(); }
std::unique_ptr<Queue> pgboss_queue() { return std::make_unique<PgBoss>(); }
std::unique_ptr<Queue> pgq_queue() { return std::make_unique<Pgq>(); }
std::unique_ptr<Queue> bare_queue() { return std::make_unique<Bare>(); }
std::unique_ptr<Queue> history_queue() { return std::make_unique<History>(); }

}  // namespace bench
