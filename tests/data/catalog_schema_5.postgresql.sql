-- A catalog as lading of schema 5 left it. Never to be changed.

CREATE FUNCTION public.events_are_never_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'events are never changed'; END $$;
CREATE TABLE public.alarms (
    id character varying(63) NOT NULL,
    name character varying(63) NOT NULL,
    raised_at double precision NOT NULL,
    ended_at double precision NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.baselines (
    name character varying(63) NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.column_windows (
    number integer NOT NULL,
    id character varying(63) NOT NULL,
    name character varying(63) NOT NULL,
    at double precision NOT NULL,
    body text NOT NULL
);
CREATE SEQUENCE public.column_windows_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.column_windows_number_seq OWNED BY public.column_windows.number;
CREATE TABLE public.events (
    id integer NOT NULL,
    name character varying(63) NOT NULL,
    number integer NOT NULL,
    seq integer NOT NULL,
    at character varying(32) NOT NULL,
    actor text NOT NULL,
    kind character varying(16) NOT NULL,
    from_ text NOT NULL,
    "to" text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    digest character varying(71) NOT NULL,
    fingerprint character varying(12) NOT NULL,
    previous character varying(64) NOT NULL,
    hash character varying(64) NOT NULL
);
CREATE SEQUENCE public.events_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_id_seq OWNED BY public.events.id;
CREATE TABLE public.evidence (
    id integer NOT NULL,
    digest character varying(71) NOT NULL,
    fingerprint character varying(12) NOT NULL,
    body text NOT NULL
);
CREATE SEQUENCE public.evidence_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.evidence_id_seq OWNED BY public.evidence.id;
CREATE TABLE public.feedback (
    id integer NOT NULL,
    at double precision NOT NULL,
    body text NOT NULL
);
CREATE SEQUENCE public.feedback_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.feedback_id_seq OWNED BY public.feedback.id;
CREATE TABLE public.jobs (
    number integer NOT NULL,
    id character varying(63) NOT NULL,
    name character varying(63) NOT NULL,
    target character varying(160) NOT NULL,
    key character varying(255),
    fingerprint character varying(64) NOT NULL,
    rank integer NOT NULL,
    state character varying(16) NOT NULL,
    path text NOT NULL,
    headers text NOT NULL,
    body bytea NOT NULL,
    created_at double precision NOT NULL,
    due_at double precision NOT NULL,
    started_at double precision NOT NULL,
    ended_at double precision NOT NULL,
    attempts integer NOT NULL,
    replica text NOT NULL,
    claim text NOT NULL,
    expires_at double precision NOT NULL,
    reason text NOT NULL,
    status integer NOT NULL,
    served text NOT NULL,
    answer_type text NOT NULL,
    answer_headers text NOT NULL,
    answer bytea,
    webhook text NOT NULL,
    hook character varying(16) NOT NULL,
    hook_due_at double precision NOT NULL,
    hook_attempts integer NOT NULL,
    hook_text text NOT NULL
);
CREATE SEQUENCE public.jobs_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.jobs_number_seq OWNED BY public.jobs.number;
CREATE TABLE public.lading_schema (
    version integer NOT NULL
);
CREATE TABLE public.leases (
    what text NOT NULL,
    holder text NOT NULL,
    expires_at double precision NOT NULL
);
CREATE TABLE public.models (
    name character varying(63) NOT NULL,
    last_version integer NOT NULL,
    last_release integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.monitor_states (
    kind character varying(16) NOT NULL,
    key text NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.profiles (
    digest character varying(71) NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.releases (
    name character varying(63) NOT NULL,
    number integer NOT NULL,
    live integer,
    candidate integer,
    plan text NOT NULL,
    step integer NOT NULL,
    weight_percent double precision NOT NULL,
    state character varying(16) NOT NULL,
    reason text NOT NULL,
    actor text NOT NULL,
    runtime character varying(12),
    replaces integer,
    created_at character varying(32) NOT NULL,
    changed_at character varying(32) NOT NULL,
    step_started_at character varying(32) NOT NULL,
    epoch integer NOT NULL
);
CREATE TABLE public.replicas (
    id text NOT NULL,
    last_seen_at double precision NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.runs (
    id character varying(63) NOT NULL,
    kind character varying(16) NOT NULL,
    name character varying(63) NOT NULL,
    state character varying(16) NOT NULL,
    began_at double precision NOT NULL,
    heard_at double precision NOT NULL,
    ended_at double precision NOT NULL,
    body text NOT NULL
);
CREATE TABLE public.tags (
    name character varying(63) NOT NULL,
    tag character varying(63) NOT NULL,
    version integer NOT NULL
);
CREATE TABLE public.versions (
    name character varying(63) NOT NULL,
    version integer NOT NULL,
    digest character varying(71) NOT NULL,
    blob character varying(71) NOT NULL,
    size_bytes bigint NOT NULL,
    purpose text NOT NULL,
    owner text NOT NULL,
    description text NOT NULL,
    pushed_at character varying(32) NOT NULL,
    metrics text NOT NULL
);
CREATE TABLE public.windows (
    id character varying(63) NOT NULL,
    name character varying(63) NOT NULL,
    release integer NOT NULL,
    at double precision NOT NULL,
    body text NOT NULL
);
ALTER TABLE ONLY public.column_windows ALTER COLUMN number SET DEFAULT nextval('public.column_windows_number_seq'::regclass);
ALTER TABLE ONLY public.events ALTER COLUMN id SET DEFAULT nextval('public.events_id_seq'::regclass);
ALTER TABLE ONLY public.evidence ALTER COLUMN id SET DEFAULT nextval('public.evidence_id_seq'::regclass);
ALTER TABLE ONLY public.feedback ALTER COLUMN id SET DEFAULT nextval('public.feedback_id_seq'::regclass);
ALTER TABLE ONLY public.jobs ALTER COLUMN number SET DEFAULT nextval('public.jobs_number_seq'::regclass);
INSERT INTO public.alarms VALUES ('a', 'iris', 1000000060, 1000000900, '{"id":"a","name":"iris","version":1,"digest":"sha256:1","release":1,"kind":"drift","subject":"age","began_at":1000000000.0,"raised_at":1000000060.0,"value":0.3,"text":"`age` is higher by 0.3 standard deviations","ended_at":1000000900.0,"acknowledged_by":""}');
INSERT INTO public.events VALUES (1, 'iris', 1, 1, '2026-11-30T04:38:37.806Z', 'ann', 'released', '', '1', '', '{"gates":{},"mode":"live","steps":[100]}', 'sha256:0000000000000000000000000000000000000000000000000000000000000001', '', '0000000000000000000000000000000000000000000000000000000000000000', 'c5c07e62230e6d24266a2a3e1949da63abef5eebe825887ea76cfda44ccc91ae');
INSERT INTO public.lading_schema VALUES (5);
INSERT INTO public.models VALUES ('wine', 1, 0);
INSERT INTO public.models VALUES ('iris', 3, 1);
INSERT INTO public.releases VALUES ('iris', 1, 1, NULL, '{"mode":"live","steps":[100],"hold_s":60.0,"min_requests":500,"no_traffic_timeout_s":3600.0,"gates":{},"rules":[],"salt":"11bf2cb822140864"}', 0, 0, 'live', '', 'ann', NULL, NULL, '2026-11-30T04:38:37.806Z', '2026-11-30T04:38:37.806Z', '2026-11-30T04:38:37.806Z', 1);
INSERT INTO public.runs VALUES ('r1', 'batch', 'iris', 'finished', 1000000000, 1000000060, 1000000060, '{"id":"r1","kind":"batch","name":"iris","version":1,"digest":"sha256:1","actor":"ann","host":"h","state":"running","text":"","began_at":0.0,"heard_at":0.0,"ended_at":0.0,"batch":{"engine":"local","output":"/out","plan":"p","files":2,"parts":3,"parts_done":0,"resumed":0,"rows":0,"scored":0,"rejected":0,"where":"","left_out":0,"rows_per_s":0.0,"reasons":[],"failed":[],"drift":null,"inputs":[],"manifest":""}}');
INSERT INTO public.tags VALUES ('iris', 'good', 1);
INSERT INTO public.tags VALUES ('iris', 'live', 1);
INSERT INTO public.versions VALUES ('iris', 1, 'sha256:0000000000000000000000000000000000000000000000000000000000000001', 'sha256:00000000000000000000000000000000000000000000000000000000000003e9', 10, 'classification', 'ml@example.com', '', '2026-11-20T08:00:00Z', '{"accuracy":0.9}');
INSERT INTO public.versions VALUES ('iris', 3, 'sha256:0000000000000000000000000000000000000000000000000000000000000003', 'sha256:00000000000000000000000000000000000000000000000000000000000003eb', 10, 'classification', 'ml@example.com', '', '2026-11-20T08:00:00Z', '{}');
INSERT INTO public.windows VALUES ('w1', 'iris', 1, 1000000000, '{"name":"iris","release":1,"version":1,"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","replica":"r","at":1000000000.0,"seconds":1.0,"requests":3,"errors":{},"latency":[],"outputs":{},"shadow":{"agreed":0,"differed":0,"dropped":0,"failed":0,"same_values":0},"feedback":{"right":0,"wrong":0},"parts":[],"id":"w1"}');
SELECT pg_catalog.setval('public.column_windows_number_seq', 1, false);
SELECT pg_catalog.setval('public.events_id_seq', 1, true);
SELECT pg_catalog.setval('public.evidence_id_seq', 1, false);
SELECT pg_catalog.setval('public.feedback_id_seq', 1, false);
SELECT pg_catalog.setval('public.jobs_number_seq', 1, false);
ALTER TABLE ONLY public.alarms
    ADD CONSTRAINT pk_alarms PRIMARY KEY (id);
ALTER TABLE ONLY public.baselines
    ADD CONSTRAINT pk_baselines PRIMARY KEY (name);
ALTER TABLE ONLY public.column_windows
    ADD CONSTRAINT pk_column_windows PRIMARY KEY (number);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (id);
ALTER TABLE ONLY public.evidence
    ADD CONSTRAINT pk_evidence PRIMARY KEY (id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT pk_feedback PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (number);
ALTER TABLE ONLY public.lading_schema
    ADD CONSTRAINT pk_lading_schema PRIMARY KEY (version);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT pk_leases PRIMARY KEY (what);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (name);
ALTER TABLE ONLY public.monitor_states
    ADD CONSTRAINT pk_monitor_states PRIMARY KEY (kind, key);
ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT pk_profiles PRIMARY KEY (digest);
ALTER TABLE ONLY public.releases
    ADD CONSTRAINT pk_releases PRIMARY KEY (name, number);
ALTER TABLE ONLY public.replicas
    ADD CONSTRAINT pk_replicas PRIMARY KEY (id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT pk_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.tags
    ADD CONSTRAINT pk_tags PRIMARY KEY (name, tag);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT pk_versions PRIMARY KEY (name, version);
ALTER TABLE ONLY public.windows
    ADD CONSTRAINT pk_windows PRIMARY KEY (id);
ALTER TABLE ONLY public.column_windows
    ADD CONSTRAINT uq_column_windows_id UNIQUE (id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_name UNIQUE (name, seq);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT uq_jobs_id UNIQUE (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT uq_jobs_name UNIQUE (name, key);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT uq_versions_name UNIQUE (name, digest);
CREATE INDEX ix_alarms_name_raised_at ON public.alarms USING btree (name, raised_at);
CREATE INDEX ix_alarms_raised_at_id ON public.alarms USING btree (raised_at, id);
CREATE INDEX ix_column_windows_name_at ON public.column_windows USING btree (name, at);
CREATE INDEX ix_evidence_digest_fingerprint ON public.evidence USING btree (digest, fingerprint);
CREATE INDEX ix_jobs_hook_hook_due_at ON public.jobs USING btree (hook, hook_due_at);
CREATE INDEX ix_jobs_name_state ON public.jobs USING btree (name, state);
CREATE INDEX ix_jobs_state_rank_number ON public.jobs USING btree (state, rank, number);
CREATE INDEX ix_runs_began_at_id ON public.runs USING btree (began_at, id);
CREATE INDEX ix_runs_name_began_at ON public.runs USING btree (name, began_at);
CREATE INDEX ix_runs_state_began_at ON public.runs USING btree (state, began_at, id);
CREATE INDEX ix_versions_blob ON public.versions USING btree (blob);
CREATE INDEX ix_windows_name_release_at ON public.windows USING btree (name, release, at);
CREATE TRIGGER events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.events_are_never_changed();
ALTER TABLE ONLY public.releases
    ADD CONSTRAINT fk_releases_name FOREIGN KEY (name) REFERENCES public.models(name);
ALTER TABLE ONLY public.tags
    ADD CONSTRAINT fk_tags_name FOREIGN KEY (name, version) REFERENCES public.versions(name, version);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT fk_versions_name FOREIGN KEY (name) REFERENCES public.models(name);
