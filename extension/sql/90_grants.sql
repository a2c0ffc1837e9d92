-- Owners and rights.  Whatever the installer's default privileges have granted is taken
-- away first, then each role gets what is listed here and nothing else.
ALTER SCHEMA insula OWNER TO insula_owner;

DO $$
DECLARE
	member record;
	grantee text;
BEGIN
	FOR member IN
		SELECT d.classid, d.objid, i.identity,
			CASE i.type WHEN 'composite type' THEN 'type' ELSE i.type END AS kind,
			CASE i.type WHEN 'composite type' THEN 'type' WHEN 'view' THEN 'table' ELSE i.type END AS grant_kind
		FROM pg_catalog.pg_depend d, LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
		WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'insula')
			AND d.deptype = 'e'
			AND i.type IN ('table', 'view', 'sequence', 'function', 'procedure', 'composite type', 'type')
	LOOP
		-- A sequence of ours belongs to its table and follows its owner.
		IF member.kind <> 'sequence' THEN
			EXECUTE pg_catalog.format('ALTER %s %s OWNER TO insula_owner', member.kind, member.identity);
		END IF;
		EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM PUBLIC', member.grant_kind, member.identity);
		FOR grantee IN
			SELECT DISTINCT pg_catalog.pg_get_userbyid(a.grantee)
			FROM (
				SELECT relacl FROM pg_catalog.pg_class
				WHERE oid = member.objid AND member.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
				UNION ALL
				SELECT proacl FROM pg_catalog.pg_proc
				WHERE oid = member.objid AND member.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
				UNION ALL
				SELECT typacl FROM pg_catalog.pg_type
				WHERE oid = member.objid AND member.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
			) o(acl), LATERAL pg_catalog.aclexplode(o.acl) a
			WHERE a.grantee NOT IN (0, 'insula_owner'::pg_catalog.regrole)
		LOOP
			EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %I', member.grant_kind, member.identity, grantee);
		END LOOP;
	END LOOP;
END
$$;

REVOKE ALL ON SCHEMA insula FROM PUBLIC;
GRANT USAGE ON SCHEMA insula TO insula_admin, insula_runner, insula_tenant;

GRANT USAGE ON TYPE insula.tenant_credentials TO insula_admin;
GRANT USAGE ON TYPE insula.claimed_task, insula.execution_result TO insula_admin, insula_runner, insula_tenant;

GRANT SELECT ON insula.tenants, insula.admin_log, insula.tenant, insula.tenant_number, insula.tenant_error, insula.scheduler_wanted, insula.leftover_role, insula.open_to_public, insula.tenant_activity, insula.pg_stat_insula, insula.home, insula.expected_relation, insula.tenant_grant, insula.foreign_grant, insula.deviation TO insula_admin;

GRANT EXECUTE ON FUNCTION
	insula.create_tenant, insula.drop_tenant, insula.suspend_tenant, insula.resume_tenant,
	insula.rotate_password, insula.set_tenant_limits, insula.status, insula.audit,
	insula.harden, insula.health, insula.capacity, insula.read_activity, insula.read_counters, insula.stat_reset, insula.upgrade_tenants,
	insula.reconcile, insula.adopt, insula.start_scheduler, insula.stop_scheduler
TO insula_admin;

GRANT EXECUTE ON FUNCTION
	insula.current_tenant, insula.is_valid_tenant_id, insula.merge_patch, insula.append_patch,
	insula.register_workflow, insula.submit, insula.submit_many, insula.cancel, insula.pause, insula.resume, insula.retry,
	insula.cancel_executions, insula.retry_executions, insula.delete_executions,
	insula.pause_workflow, insula.resume_workflow, insula.send_event, insula.explain_execution,
	insula.result, insula.next_fires, insula.schedule, insula.unschedule, insula.pause_schedule, insula.resume_schedule,
	insula.schedules, insula.create_trigger, insula.drop_trigger, insula.fire_trigger, insula.triggers
TO insula_admin, insula_tenant;
GRANT EXECUTE ON PROCEDURE insula.await TO insula_admin, insula_tenant;

GRANT EXECUTE ON FUNCTION
	insula.claim, insula.read_claimed, insula.watch, insula.nudge, insula.leave, insula.complete, insula.complete_many, insula.complete_batch,
	insula.fail, insula.defer, insula.wait_event, insula.submit_child, insula.join_task,
	insula.heartbeat
TO insula_admin, insula_runner, insula_tenant;
GRANT EXECUTE ON PROCEDURE insula.wait_for_work, insula.claim_when_ready TO insula_admin, insula_runner, insula_tenant;
