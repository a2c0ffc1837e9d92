// Databases in other encodings than UTF-8: what cannot be stored, or cannot be read, fails the one
// task that it belongs to, with a text that says so.
#include "client_test.hpp"

#include <postgresql/libpq-fe.h>

namespace {

using namespace insula_test;
using namespace insula;

// A database of its own, in which a tenant has its schema.
class Encoding : public ::testing::Test {
 protected:
  void make(const std::string& encoding) {
    drop();
    admin_.rows("CREATE DATABASE other_encoding ENCODING '" + encoding +
                "' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    sql_.rows("SET client_min_messages = error");
    sql_.rows("CREATE EXTENSION insula");
  }
  void TearDown() override { drop(); }
  void drop() { admin_.rows("DROP DATABASE IF EXISTS other_encoding WITH (FORCE)"); }

  Runner make_runner(RunnerConfig config = {}) {
    config.log = log_.hook();
    return Runner::with_schema(conninfo_, "somewhere", std::move(config));
  }
  // The error of an execution that must fail long before a lease is over.
  std::string error_of_failed(const Execution& execution) {
    const auto result = execution.wait_for(patience);
    EXPECT_TRUE(result) << log_.text();
    EXPECT_TRUE(!result || result->status == Status::failed);
    return result ? result->error : "";
  }

  const std::string conninfo_ = "dbname=other_encoding";
  Sql admin_;
  Sql sql_{conninfo_ + " client_encoding=SQL_ASCII"};  // bytes go as they are
  Log log_;
};

Workflow once(std::string name, std::function<void(TaskContext&)> handler) {
  return Workflow::builder(std::move(name)).task("only", std::move(handler), {.retry = {.max_attempts = 1}}).build();
}

TEST_F(Encoding, AnErrorThatCannotBeStoredIsEscaped) {
  make("LATIN1");
  Runner runner = make_runner();
  const auto error_for = [&](const std::string& name, const char* text) {
    runner.add(once(name, [text](TaskContext&) { throw std::runtime_error{text}; }));
    return error_of_failed(runner.execute_async(name));
  };
  EXPECT_NE(error_for("price", "3 \u20ac").find("3 \\u20ac"), std::string::npos);
  EXPECT_NE(error_for("bytes", "\u00fc\xff\u20ac").find("\\u00fc?\\u20ac"), std::string::npos);
  EXPECT_NE(error_for("greeting", "gr\u00fc\u00dfe").find("gr\u00fc\u00dfe"), std::string::npos) << "it can be stored";
}

TEST_F(Encoding, AContextThatCannotBeStoredFailsItsTaskAlone) {
  make("LATIN1");
  Runner runner = make_runner({.max_concurrent_tasks = 16});
  runner.add(once("sets", [](TaskContext& ctx) { ctx.set("set", ctx.at<int>("n") == 7 ? "\u20ac" : "\u00fc"); }));
  std::vector<Context> inputs;
  for (int n = 0; n < 40; ++n) inputs.push_back({{"n", n}});
  const std::vector<Execution> executions = runner.submit_many("sets", inputs);
  for (int n = 0; n < 40; ++n) {
    const Execution& execution = executions[static_cast<std::size_t>(n)];
    if (n == 7) {
      EXPECT_NE(error_of_failed(execution).find("LATIN1"), std::string::npos);
      continue;
    }
    const auto result = execution.wait_for(patience);
    ASSERT_TRUE(result) << n;
    EXPECT_EQ(result->final_context.get<std::string>("set"), "\u00fc");
  }
  EXPECT_FALSE(log_.holds("lease")) << log_.text();
}

TEST_F(Encoding, AnUnstorableRequestFailsItsTaskToo) {
  make("LATIN1");
  Runner runner = make_runner();
  runner.add(once("defers", [](TaskContext& ctx) {
    ctx.set("x", "\u20ac");
    ctx.defer_until(1ms);
  }));
  runner.add(once("waits", [](TaskContext& ctx) {
    ctx.set("x", "\u20ac");
    ctx.wait_event("go");
  }));
  runner.add(once("begets", [](TaskContext& ctx) { ctx.submit_child("defers", {{"x", "\u20ac"}}); }));
  runner.add(once("commits", [](TaskContext& ctx) {
    ctx.transaction();
    ctx.set("x", "\u20ac");
  }));
  for (const char* name : {"defers", "waits", "begets", "commits"})
    EXPECT_NE(error_of_failed(runner.execute_async(name)).find("LATIN1"), std::string::npos) << name;
  EXPECT_EQ(error_of([&] { runner.execute("defers", {{"x", "\u20ac"}}); }).sqlstate(), "22P05");
  EXPECT_EQ(error_of([&] { (void)runner.execution(1).send_event("go", "\u20ac"); }).sqlstate(), "22P05");
}

TEST_F(Encoding, AnInputThatCannotBeReadFailsItsTaskAlone) {
  make("SQL_ASCII");
  Runner runner = make_runner();
  runner.add(once("reads", [](TaskContext& ctx) { ctx.set("read", ctx.at<std::string>("x")); }));
  std::vector<std::int64_t> good;
  sql_.rows("SET insula.tenant = somewhere");
  const auto submit = [&](const std::string& text) {
    return std::stoll(sql_.value("SELECT insula.submit('reads', $1::jsonb)", {"{\"x\": \"" + text + "\"}"}));
  };
  const std::int64_t bad = submit("\xff");
  for (const char* text : {"plain", "gr\u00fcn", "\u20ac"}) good.push_back(submit(text));
  for (const std::int64_t id : good) {
    const auto result = runner.execution(id).wait_for(patience);
    ASSERT_TRUE(result) << log_.text();
    EXPECT_TRUE(result->status.is_success());
    EXPECT_EQ(result->final_context.get<std::string>("x"), result->final_context.get<std::string>("read"));
  }
  EXPECT_TRUE(eventually(
      [&] { return sql_.value("SELECT status FROM insula.result($1)", {std::to_string(bad)}) == "failed"; }));
  EXPECT_EQ(sql_.value("SELECT error FROM insula.result($1)", {std::to_string(bad)}),
            "task \"only\" failed: the context of the task, its item or event cannot be sent to the worker in its "
            "encoding, UTF8");
  EXPECT_FALSE(log_.holds("cannot claim")) << log_.text();
}

TEST_F(Encoding, AnEventThatCannotBeReadFailsItsTask) {
  make("SQL_ASCII");
  Runner runner = make_runner();
  runner.add(once("waits", [](TaskContext& ctx) {
    if (!ctx.event()) ctx.wait_event("go");
  }));
  const Execution execution = runner.execute_async("waits");
  ASSERT_TRUE(eventually([&] { return execution.explain().at(0).status == Status::from_name("waiting"); }));
  sql_.rows("SELECT insula.send_event($1, 'go', $2::jsonb)", {std::to_string(execution.id()), "\"\xfe\""});
  EXPECT_NE(error_of_failed(execution).find("UTF8"), std::string::npos);
}

TEST_F(Encoding, AFleetGoesOnAfterATaskThatItCannotRead) {
  make("SQL_ASCII");
  Fleet fleet{conninfo_, {.log = log_.hook()}};
  const Workflow workflow = once("reads", [](TaskContext&) {});
  for (const char* name : {"first", "second"}) {
    sql_.rows("SELECT tenant FROM insula.create_tenant($1, login => false)", {name});
    fleet.tenant(name).register_workflow(workflow);
  }
  const std::string bad =
      sql_.value("SELECT insula.submit('reads', $1::jsonb, tenant => 'first')", {"{\"x\": \"\xff\"}"});
  fleet.add(workflow);
  for (const char* name : {"first", "second"}) EXPECT_TRUE(fleet.tenant(name).execute("reads").status.is_success());
  EXPECT_TRUE(eventually([&] { return sql_.value("SELECT status FROM insula.result($1)", {bad}) == "failed"; }));
}

// A connection of the application's own speaks the database's encoding unless it is told otherwise.
TEST_F(Encoding, EnqueueOverAConnectionInAnotherEncodingIsRefused) {
  make("LATIN1");
  make_runner().add(once("w", [](TaskContext&) {}));
  const std::unique_ptr<PGconn, void (*)(PGconn*)> conn{PQconnectdb(conninfo_.c_str()), PQfinish};
  ASSERT_EQ(PQstatus(conn.get()), CONNECTION_OK);
  EXPECT_EQ(PQsetClientEncoding(conn.get(), "LATIN1"), 0);
  EXPECT_GT(enqueue(conn.get(), "w", {{"x", "plain"}}, {}, "somewhere"), 0);
  EXPECT_EQ(error_of([&] { enqueue(conn.get(), "w", {{"x", "\u00fc"}}, {}, "somewhere"); }).code(), errc::invalid);
  // An array's header has bytes of its own.
  EXPECT_EQ(enqueue_many(conn.get(), "w", std::vector<Context>(128, {{"x", "plain"}}), {}, "somewhere").size(), 128U);
  EXPECT_EQ(PQsetClientEncoding(conn.get(), "UTF8"), 0);
  const std::int64_t id = enqueue(conn.get(), "w", {{"x", "\u00fc"}}, {}, "somewhere");
  EXPECT_EQ(sql_.value("SELECT pg_catalog.convert_to(context ->> 'x', 'LATIN1') FROM somewhere.workflow_executions "
                       "WHERE execution_id = $1",
                       {std::to_string(id)}),
            "\\xfc");
}

TEST_F(Encoding, AConnectionStringInAnotherEncodingChangesNothing) {
  make("LATIN1");
  Runner runner = Runner::with_schema(conninfo_ + " client_encoding=LATIN1", "somewhere", {.log = log_.hook()});
  runner.add(once("echo", [](TaskContext& ctx) { ctx.set("y", ctx.at<std::string>("x") + "\u00df"); }));
  EXPECT_EQ(runner.execute("echo", {{"x", "\u00fc"}}).final_context.at<std::string>("y"), "\u00fc\u00df");
}

}  // namespace
