-- Names are bytes, since PostgreSQL's text knows no NUL and orders by locale.
-- Numbers of 64 bits without sign are kept with their bits as they are.

CREATE TABLE state (
  id int4 PRIMARY KEY,
  era int8 NOT NULL, sequence int8 NOT NULL,
  log_oldest int8 NOT NULL, log_changes int8 NOT NULL, log_bytes int8 NOT NULL,
  last_space int4 NOT NULL,
  min_compatible int4 NOT NULL
);
INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0, 0);

CREATE TABLE namespaces (number int4 PRIMARY KEY, name bytea NOT NULL UNIQUE, space int4 NOT NULL);
CREATE TABLE kinds (number int4 PRIMARY KEY, name bytea NOT NULL UNIQUE, rank bytea NOT NULL UNIQUE);
CREATE TABLE indexes (number int4 PRIMARY KEY, name bytea NOT NULL UNIQUE);
CREATE TABLE tables (
  namespace int4 NOT NULL, kind int4 NOT NULL, view_name text,
  PRIMARY KEY (namespace, kind)
);

CREATE TABLE rows (
  space int4 NOT NULL, kind int4 NOT NULL, name bytea NOT NULL,
  id uuid, version int8 NOT NULL,
  body bytea NOT NULL, aside bytea NOT NULL, extracted bytea NOT NULL,
  readable jsonb,
  PRIMARY KEY (space, kind, name)
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX rows_by_id ON rows (id, space, kind) WHERE id IS NOT NULL;

CREATE TABLE entries (
  space int4 NOT NULL, index_number int4 NOT NULL, value bytea NOT NULL,
  kind_rank bytea NOT NULL, name bytea NOT NULL,
  PRIMARY KEY (space, index_number, value, kind_rank, name)
);

CREATE TABLE log (
  sequence int8 NOT NULL, line int4 NOT NULL,
  namespace int4 NOT NULL, kind int4 NOT NULL, name bytea NOT NULL,
  before_id uuid, before_version int8, before_body bytea, before_aside bytea,
  after_id uuid, after_version int8, after_body bytea, after_aside bytea,
  size int8 NOT NULL,
  PRIMARY KEY (sequence, line)
);
CREATE INDEX log_removals ON log (namespace, kind, name, sequence) WHERE after_version IS NULL;

CREATE TABLE dropped (space int4 PRIMARY KEY);
CREATE TABLE writers (id uuid PRIMARY KEY, number int8 NOT NULL, used_at timestamptz NOT NULL);
