-- A catalog as lading of schema 1 made it. Never to be changed.

CREATE TABLE evidence (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    digest VARCHAR(71) NOT NULL,
    fingerprint VARCHAR(12) NOT NULL,
    body TEXT NOT NULL
);

CREATE INDEX ix_evidence_digest_fingerprint ON evidence (digest, fingerprint);

CREATE TABLE lading_schema (
    version INTEGER NOT NULL,
    CONSTRAINT pk_lading_schema PRIMARY KEY (version)
);

CREATE TABLE models (
    name VARCHAR(63) NOT NULL,
    last_version INTEGER NOT NULL,
    CONSTRAINT pk_models PRIMARY KEY (name)
);

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

CREATE INDEX ix_versions_blob ON versions (blob);

CREATE TABLE tags (
    name VARCHAR(63) NOT NULL,
    tag VARCHAR(63) NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT pk_tags PRIMARY KEY (name, tag),
    CONSTRAINT fk_tags_name FOREIGN KEY(name, version) REFERENCES versions (name, version)
);

INSERT INTO lading_schema VALUES (1);
INSERT INTO models VALUES ('iris', 3), ('wine', 1);
INSERT INTO versions VALUES ('iris', 1, 'sha256:0000000000000000000000000000000000000000000000000000000000000001', 'sha256:00000000000000000000000000000000000000000000000000000000000003e9', 10, 'classification', 'ml@example.com', '', '2026-11-20T08:00:00Z', '{"accuracy":0.9}');
INSERT INTO versions VALUES ('iris', 3, 'sha256:0000000000000000000000000000000000000000000000000000000000000003', 'sha256:00000000000000000000000000000000000000000000000000000000000003eb', 10, 'classification', 'ml@example.com', '', '2026-11-20T08:00:00Z', '{}');
INSERT INTO tags VALUES ('iris', 'good', 1);
