-- Two roles for one database: `owner` has the tables and runs migrations; `application` (web, workers, beat) reads and writes rows, and owns nothing:
-- it cannot drop a trigger, alter a table, empty one, or change a function that a trigger calls.
-- As a superuser, before the first migration or at any time after it, as often as you like (docs/deploy.md, "Roles of the database"):
--   OWNER_PASSWORD=… APPLICATION_PASSWORD=… psql -d byok -f deploy/postgresql/roles.sql
-- Other names: -v owner=… -v application=….
\set ON_ERROR_STOP on
\if :{?owner}
\else
\set owner byok_owner
\endif
\if :{?application}
\else
\set application byok_app
\endif
\getenv owner_password OWNER_PASSWORD
\getenv application_password APPLICATION_PASSWORD

BEGIN;
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY[:'owner', :'application']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
-- PostgreSQL refuses this for the superuser that the server was made with: take another name for the application.
ALTER ROLE :"owner" NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE :"application" NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
\if :{?owner_password}
ALTER ROLE :"owner" PASSWORD :'owner_password';
\endif
\if :{?application_password}
ALTER ROLE :"application" PASSWORD :'application_password';
\endif
-- Whoever is a member of another role may do what that role may.
SELECT format('REVOKE %s FROM %I', roleid::regrole, :'application') FROM pg_auth_members
WHERE member = :'application'::regrole \gexec

ALTER DATABASE :"DBNAME" OWNER TO :"owner";
ALTER SCHEMA public OWNER TO :"owner";
SELECT format('ALTER TABLE %I.%I OWNER TO %I', schemaname, tablename, :'owner') FROM pg_tables
WHERE schemaname = 'public' AND tableowner <> :'owner' \gexec
SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, :'owner') FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proowner <> :'owner'::regrole
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') \gexec

REVOKE CREATE, TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC, :"application";
REVOKE CREATE ON SCHEMA public FROM PUBLIC, :"application";
GRANT CONNECT ON DATABASE :"DBNAME" TO :"application";
GRANT USAGE ON SCHEMA public TO :"application";
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :"application";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"application";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM :"application";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO :"application";
-- … and what later migrations make.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"application";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO :"application";
COMMIT;
