-- A catalog as lading of schema 5 left it. Never to be changed.

BEGIN TRANSACTION;
CREATE TABLE alarms (
	id VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	raised_at FLOAT NOT NULL, 
	ended_at FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_alarms PRIMARY KEY (id)
);
INSERT INTO "alarms" VALUES('a','iris',1000000060.0,1000000900.0,'{"id":"a","name":"iris","version":1,"digest":"sha256:1","release":1,"kind":"drift","subject":"age","began_at":1000000000.0,"raised_at":1000000060.0,"value":0.3,"text":"`age` is higher by 0.3 standard deviations","ended_at":1000000900.0,"acknowledged_by":""}');
CREATE TABLE baselines (
	name VARCHAR(63) NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_baselines PRIMARY KEY (name)
);
CREATE TABLE column_windows (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	at FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT uq_column_windows_id UNIQUE (id)
);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(63) NOT NULL, 
	number INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	from_ TEXT NOT NULL, 
	"to" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	fingerprint VARCHAR(12) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	CONSTRAINT uq_events_name UNIQUE (name, seq)
);
INSERT INTO "events" VALUES(1,'iris',1,1,'2026-11-30T04:38:27.875Z','ann','released','','1','','{"gates":{},"mode":"live","steps":[100]}','sha256:0000000000000000000000000000000000000000000000000000000000000001','','0000000000000000000000000000000000000000000000000000000000000000','8ad00e1f70c39e6f330da1e3744a65d735f4c88683de945a47f25a1fe012b02f');
CREATE TABLE evidence (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    digest VARCHAR(71) NOT NULL,
    fingerprint VARCHAR(12) NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE feedback (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at FLOAT NOT NULL, 
	body TEXT NOT NULL
);
CREATE TABLE jobs (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	target VARCHAR(160) NOT NULL, 
	"key" VARCHAR(255), 
	fingerprint VARCHAR(64) NOT NULL, 
	rank INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	path TEXT NOT NULL, 
	headers TEXT NOT NULL, 
	body BLOB NOT NULL, 
	created_at FLOAT NOT NULL, 
	due_at FLOAT NOT NULL, 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT NOT NULL, 
	attempts INTEGER NOT NULL, 
	replica TEXT NOT NULL, 
	claim TEXT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	reason TEXT NOT NULL, 
	status INTEGER NOT NULL, 
	served TEXT NOT NULL, 
	answer_type TEXT NOT NULL, 
	answer_headers TEXT NOT NULL, 
	answer BLOB, 
	webhook TEXT NOT NULL, 
	hook VARCHAR(16) NOT NULL, 
	hook_due_at FLOAT NOT NULL, 
	hook_attempts INTEGER NOT NULL, 
	hook_text TEXT NOT NULL, 
	CONSTRAINT uq_jobs_id UNIQUE (id), 
	CONSTRAINT uq_jobs_name UNIQUE (name, "key")
);
CREATE TABLE lading_schema (
    version INTEGER NOT NULL,
    CONSTRAINT pk_lading_schema PRIMARY KEY (version)
);
INSERT INTO "lading_schema" VALUES(5);
CREATE TABLE leases (
	what TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	CONSTRAINT pk_leases PRIMARY KEY (what)
);
CREATE TABLE models (
    name VARCHAR(63) NOT NULL,
    last_version INTEGER NOT NULL, last_release INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT pk_models PRIMARY KEY (name)
);
INSERT INTO "models" VALUES('iris',3,1);
INSERT INTO "models" VALUES('wine',1,0);
CREATE TABLE monitor_states (
	kind VARCHAR(16) NOT NULL, 
	"key" TEXT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_monitor_states PRIMARY KEY (kind, "key")
);
CREATE TABLE profiles (
	digest VARCHAR(71) NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_profiles PRIMARY KEY (digest)
);
CREATE TABLE releases (
	name VARCHAR(63) NOT NULL, 
	number INTEGER NOT NULL, 
	live INTEGER, 
	candidate INTEGER, 
	"plan" TEXT NOT NULL, 
	step INTEGER NOT NULL, 
	weight_percent FLOAT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	reason TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	runtime VARCHAR(12), 
	replaces INTEGER, 
	created_at VARCHAR(32) NOT NULL, 
	changed_at VARCHAR(32) NOT NULL, 
	step_started_at VARCHAR(32) NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_releases PRIMARY KEY (name, number), 
	CONSTRAINT fk_releases_name FOREIGN KEY(name) REFERENCES models (name)
);
INSERT INTO "releases" VALUES('iris',1,1,NULL,'{"mode":"live","steps":[100],"hold_s":60.0,"min_requests":500,"no_traffic_timeout_s":3600.0,"gates":{},"rules":[],"salt":"106f34a97cac3ab5"}',0,0.0,'live','','ann',NULL,NULL,'2026-11-30T04:38:27.875Z','2026-11-30T04:38:27.875Z','2026-11-30T04:38:27.875Z',1);
CREATE TABLE replicas (
	id TEXT NOT NULL, 
	last_seen_at FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_replicas PRIMARY KEY (id)
);
CREATE TABLE runs (
	id VARCHAR(63) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	began_at FLOAT NOT NULL, 
	heard_at FLOAT NOT NULL, 
	ended_at FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_runs PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('r1','batch','iris','finished',1000000000.0,1000000060.0,1000000060.0,'{"id":"r1","kind":"batch","name":"iris","version":1,"digest":"sha256:1","actor":"ann","host":"h","state":"running","text":"","began_at":0.0,"heard_at":0.0,"ended_at":0.0,"batch":{"engine":"local","output":"/out","plan":"p","files":2,"parts":3,"parts_done":0,"resumed":0,"rows":0,"scored":0,"rejected":0,"where":"","left_out":0,"rows_per_s":0.0,"reasons":[],"failed":[],"drift":null,"inputs":[],"manifest":""}}');
CREATE TABLE tags (
    name VARCHAR(63) NOT NULL,
    tag VARCHAR(63) NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT pk_tags PRIMARY KEY (name, tag),
    CONSTRAINT fk_tags_name FOREIGN KEY(name, version) REFERENCES versions (name, version)
);
INSERT INTO "tags" VALUES('iris','good',1);
INSERT INTO "tags" VALUES('iris','live',1);
CREATE TABLE versions (
    name VARCHAR(63) NOT NULL,
    version INTEGER NOT NULL,
    digest VARCHAR(71) NOT NULL,
    blob VARCHAR(71) NOT NULL,
    size_bytes BIGINT NOT NULL,
    purpose TEXT NOT NULL,
    owner TEXT NOT NULL,
    description TEXT NOT NULL,
    pushed_at VARCHAR(32) NOT NULL,
    metrics TEXT NOT NULL,
    CONSTRAINT pk_versions PRIMARY KEY (name, version),
    CONSTRAINT uq_versions_name UNIQUE (name, digest),
    CONSTRAINT fk_versions_name FOREIGN KEY(name) REFERENCES models (name)
);
INSERT INTO "versions" VALUES('iris',1,'sha256:0000000000000000000000000000000000000000000000000000000000000001','sha256:00000000000000000000000000000000000000000000000000000000000003e9',10,'classification','ml@example.com','','2026-11-20T08:00:00Z','{"accuracy":0.9}');
INSERT INTO "versions" VALUES('iris',3,'sha256:0000000000000000000000000000000000000000000000000000000000000003','sha256:00000000000000000000000000000000000000000000000000000000000003eb',10,'classification','ml@example.com','','2026-11-20T08:00:00Z','{}');
CREATE TABLE windows (
	id VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	release INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_windows PRIMARY KEY (id)
);
INSERT INTO "windows" VALUES('w1','iris',1,1000000000.0,'{"name":"iris","release":1,"version":1,"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","replica":"r","at":1000000000.0,"seconds":1.0,"requests":3,"errors":{},"latency":[],"outputs":{},"shadow":{"agreed":0,"differed":0,"dropped":0,"failed":0,"same_values":0},"feedback":{"right":0,"wrong":0},"parts":[],"id":"w1"}');
CREATE INDEX ix_evidence_digest_fingerprint ON evidence (digest, fingerprint);
CREATE INDEX ix_versions_blob ON versions (blob);
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE INDEX ix_windows_name_release_at ON windows (name, release, at);
CREATE INDEX ix_column_windows_name_at ON column_windows (name, at);
CREATE INDEX ix_alarms_name_raised_at ON alarms (name, raised_at);
CREATE INDEX ix_alarms_raised_at_id ON alarms (raised_at, id);
CREATE INDEX ix_runs_name_began_at ON runs (name, began_at);
CREATE INDEX ix_runs_began_at_id ON runs (began_at, id);
CREATE INDEX ix_runs_state_began_at ON runs (state, began_at, id);
CREATE INDEX ix_jobs_state_rank_number ON jobs (state, rank, number);
CREATE INDEX ix_jobs_name_state ON jobs (name, state);
CREATE INDEX ix_jobs_hook_hook_due_at ON jobs (hook, hook_due_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',1);
COMMIT;
