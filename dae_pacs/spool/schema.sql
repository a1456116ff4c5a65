-- The ledger, version 4. Columns that hold DICOM elements carry their keywords. Times are seconds since 1970.
-- Every index below serves a statement that runs once for each instance or each tick of the node, and costs
-- the same at a thousand instances as at a million. Partial indexes hold only what is still to be done.

CREATE TABLE IF NOT EXISTS transitions (
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (kind, source, target)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS associations (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    calling_ae TEXT NOT NULL,
    called_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    is_open INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS open_associations ON associations (id) WHERE is_open;

CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY,
    StudyInstanceUID TEXT NOT NULL,
    SeriesInstanceUID TEXT NOT NULL,
    PatientID TEXT NOT NULL,
    AccessionNumber TEXT NOT NULL,
    StudyDate TEXT NOT NULL,
    Modality TEXT NOT NULL,
    SeriesDescription TEXT NOT NULL,
    SeriesNumber INTEGER,
    origin TEXT NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    -- The patient is part of the key: a UID that two patients share must not give one the other's name.
    UNIQUE (StudyInstanceUID, SeriesInstanceUID, PatientID, origin)
);

CREATE INDEX IF NOT EXISTS series_of_uid ON series (SeriesInstanceUID); -- a viewer may ask without the study

CREATE TABLE IF NOT EXISTS instances (
    id INTEGER PRIMARY KEY,
    series_id INTEGER NOT NULL REFERENCES series (id),
    association_id INTEGER REFERENCES associations (id),
    source_id INTEGER REFERENCES instances (id),
    origin TEXT NOT NULL,
    status TEXT NOT NULL,
    action TEXT NOT NULL,
    rule TEXT,
    reason TEXT,
    SOPClassUID TEXT NOT NULL,
    SOPInstanceUID TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    digest TEXT NOT NULL,
    path TEXT NOT NULL, -- below the folder that holds the ledger
    size_bytes INTEGER NOT NULL,
    received_at REAL NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_instance_of_a_uid
    ON instances (SOPInstanceUID, origin) WHERE status <> 'quarantined';
CREATE INDEX IF NOT EXISTS quarantined_instances ON instances (SOPInstanceUID) WHERE status = 'quarantined';
CREATE INDEX IF NOT EXISTS missing_instances ON instances (series_id) WHERE status = 'missing';
CREATE INDEX IF NOT EXISTS instances_of_series ON instances (series_id);
CREATE INDEX IF NOT EXISTS derived_of_source ON instances (source_id) WHERE source_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS instances_on_disk
    ON instances (received_at) WHERE status IN ('kept', 'passed_over');

CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY,
    StudyInstanceUID TEXT NOT NULL,
    SeriesInstanceUID TEXT NOT NULL,
    rule TEXT NOT NULL, -- '' where the plan named none
    variant TEXT NOT NULL, -- '' for the output that every rule has
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    strength REAL,
    compression TEXT NOT NULL,
    destinations TEXT NOT NULL, -- JSON list of names
    description TEXT NOT NULL,
    priority TEXT NOT NULL,
    priority_rank INTEGER NOT NULL,
    source TEXT NOT NULL DEFAULT '', -- who sent the series' first image: a calling AE title, or an account
    status TEXT NOT NULL,
    image_count INTEGER NOT NULL DEFAULT 0,
    expected_count INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    round INTEGER NOT NULL DEFAULT 0, -- counts claims: tells images of this run from those that joined in it
    owner TEXT,
    lease_s REAL,
    beat_at REAL,
    not_before REAL NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    last_image_at REAL NOT NULL,
    claimed_at REAL,
    finished_at REAL,
    noise TEXT,
    series_number INTEGER,
    reason TEXT,
    stages TEXT NOT NULL DEFAULT '{}',
    UNIQUE (StudyInstanceUID, SeriesInstanceUID, rule, variant)
);
CREATE INDEX IF NOT EXISTS collecting_jobs ON jobs (last_image_at) WHERE status = 'collecting';
CREATE INDEX IF NOT EXISTS ready_jobs_of_source ON jobs (priority_rank, source, created_at) WHERE status = 'ready';
CREATE INDEX IF NOT EXISTS running_jobs ON jobs (beat_at) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS failed_jobs ON jobs (StudyInstanceUID) WHERE status = 'failed';

-- Whose turn it is, see `spool.turns`; in bytes of jobs taken.
CREATE TABLE IF NOT EXISTS turns (
    source TEXT PRIMARY KEY,
    started REAL NOT NULL,
    served REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS turns_by_start ON turns (started);
CREATE INDEX IF NOT EXISTS turns_by_served ON turns (served);

CREATE TABLE IF NOT EXISTS job_images (
    job_id INTEGER NOT NULL REFERENCES jobs (id),
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    status TEXT NOT NULL,
    joined_round INTEGER NOT NULL,
    derived_id INTEGER REFERENCES instances (id),
    reason TEXT,
    PRIMARY KEY (job_id, instance_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_of_image ON job_images (instance_id);

CREATE TABLE IF NOT EXISTS job_associations (
    job_id INTEGER NOT NULL REFERENCES jobs (id),
    association_id INTEGER NOT NULL REFERENCES associations (id),
    PRIMARY KEY (job_id, association_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY,
    instance_id INTEGER NOT NULL REFERENCES instances (id),
    destination TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL,
    error TEXT,
    warning TEXT,
    created_at REAL NOT NULL,
    delivered_at REAL, -- when the destination said success
    transaction_id INTEGER REFERENCES commitments (id), -- that asks for its commitment
    commit_tries INTEGER NOT NULL DEFAULT 0,
    committed_at REAL,
    UNIQUE (instance_id, destination)
);
CREATE INDEX IF NOT EXISTS waiting_deliveries
    ON deliveries (destination, next_try_at) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS sending_deliveries ON deliveries (id) WHERE status = 'sending';
CREATE INDEX IF NOT EXISTS dead_deliveries ON deliveries (instance_id) WHERE status = 'dead';

CREATE INDEX IF NOT EXISTS uncommitted_deliveries
    ON deliveries (destination, next_try_at) WHERE status = 'uncommitted';
CREATE INDEX IF NOT EXISTS deliveries_of_transaction
    ON deliveries (transaction_id) WHERE transaction_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS commitments (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE, -- Transaction UID (0008,1195)
    destination TEXT NOT NULL,
    status TEXT NOT NULL, -- asked, answered, expired, refused
    objects INTEGER NOT NULL,
    asked_at REAL NOT NULL,
    answered_at REAL
);
CREATE INDEX IF NOT EXISTS commitments_of_destination ON commitments (destination);
CREATE INDEX IF NOT EXISTS open_commitments ON commitments (destination, asked_at) WHERE status = 'asked';

CREATE TABLE IF NOT EXISTS destinations (
    name TEXT PRIMARY KEY,
    failures INTEGER NOT NULL, -- in a row
    next_try_at REAL NOT NULL,
    error TEXT, -- the last one, also when it is over
    failed_at REAL,
    worked_at REAL -- when it last took something
) WITHOUT ROWID;

-- One row for each patient of each study: what a person looks for. Its id grows with the time of arrival.
CREATE TABLE IF NOT EXISTS studies (
    id INTEGER PRIMARY KEY,
    StudyInstanceUID TEXT NOT NULL,
    PatientID TEXT NOT NULL COLLATE NOCASE,
    AccessionNumber TEXT NOT NULL COLLATE NOCASE,
    StudyDate TEXT NOT NULL,
    first_at REAL NOT NULL,
    UNIQUE (StudyInstanceUID, PatientID COLLATE BINARY) -- any case finds a patient, but 12a is not 12A
);
CREATE INDEX IF NOT EXISTS studies_of_patient ON studies (PatientID);
CREATE INDEX IF NOT EXISTS studies_of_accession ON studies (AccessionNumber);
CREATE INDEX IF NOT EXISTS studies_of_date ON studies (StudyDate);
CREATE INDEX IF NOT EXISTS studies_by_arrival ON studies (first_at);

-- What people did from the console; the audit trail has it, too, where there is one.
CREATE TABLE IF NOT EXISTS acts (
    id INTEGER PRIMARY KEY,
    StudyInstanceUID TEXT NOT NULL,
    at REAL NOT NULL,
    account TEXT NOT NULL,
    words TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS acts_of_study ON acts (StudyInstanceUID);

-- The ledger counts itself, so that nobody need ever read it whole to know how much there is.
CREATE TABLE IF NOT EXISTS totals (
    kind TEXT NOT NULL, -- instance, job, delivery
    name TEXT NOT NULL, -- of an instance its origin, of a delivery its destination
    status TEXT NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (kind, name, status)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS activity (
    minute INTEGER NOT NULL, -- since 1970
    kind TEXT NOT NULL, -- study (a new one), received, derived, delivered
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (minute, kind)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS pulls (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL, -- the pull rule that asked for the series; '' for a person's dae-pacs fetch
    peer TEXT NOT NULL,
    StudyInstanceUID TEXT NOT NULL,
    SeriesInstanceUID TEXT NOT NULL,
    PatientID TEXT NOT NULL, -- as the peer tells it
    reason TEXT NOT NULL,
    status TEXT NOT NULL,
    announced INTEGER, -- instances that the peer said it has
    arrived INTEGER, -- instances that were here afterwards
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL,
    error TEXT,
    asked_at REAL NOT NULL,
    pulled_at REAL,
    UNIQUE (StudyInstanceUID, SeriesInstanceUID, peer)
);
CREATE INDEX IF NOT EXISTS waiting_pulls ON pulls (rule, next_try_at) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS pulls_of_rule ON pulls (rule, status);

CREATE TABLE IF NOT EXISTS pull_rules (
    name TEXT PRIMARY KEY,
    looked_at REAL NOT NULL, -- when the peer was last asked what it has; 0 for never
    seen INTEGER NOT NULL, -- the last row of series whose priors were looked for
    failures INTEGER NOT NULL, -- in a row
    next_try_at REAL NOT NULL,
    error TEXT -- the last one, also when it is over
) WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS instance_transition BEFORE UPDATE OF status ON instances
WHEN OLD.status <> NEW.status AND NOT EXISTS (
    SELECT 1 FROM transitions WHERE kind = 'instance' AND source = OLD.status AND target = NEW.status)
BEGIN SELECT RAISE(ABORT, 'illegal transition of an instance'); END;

CREATE TRIGGER IF NOT EXISTS image_transition BEFORE UPDATE OF status ON job_images
WHEN OLD.status <> NEW.status AND NOT EXISTS (
    SELECT 1 FROM transitions WHERE kind = 'image' AND source = OLD.status AND target = NEW.status)
BEGIN SELECT RAISE(ABORT, 'illegal transition of an image of a job'); END;

CREATE TRIGGER IF NOT EXISTS job_transition BEFORE UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NOT EXISTS (
    SELECT 1 FROM transitions WHERE kind = 'job' AND source = OLD.status AND target = NEW.status)
BEGIN SELECT RAISE(ABORT, 'illegal transition of a job'); END;

CREATE TRIGGER IF NOT EXISTS delivery_transition BEFORE UPDATE OF status ON deliveries
WHEN OLD.status <> NEW.status AND NOT EXISTS (
    SELECT 1 FROM transitions WHERE kind = 'delivery' AND source = OLD.status AND target = NEW.status)
BEGIN SELECT RAISE(ABORT, 'illegal transition of a delivery'); END;

CREATE TRIGGER IF NOT EXISTS study_of_series AFTER INSERT ON series BEGIN
    INSERT INTO studies (StudyInstanceUID, PatientID, AccessionNumber, StudyDate, first_at)
    VALUES (NEW.StudyInstanceUID, NEW.PatientID, NEW.AccessionNumber, NEW.StudyDate, NEW.first_at)
    ON CONFLICT DO UPDATE SET AccessionNumber = coalesce(nullif(AccessionNumber, ''), excluded.AccessionNumber),
        StudyDate = coalesce(nullif(StudyDate, ''), excluded.StudyDate);
END;

CREATE TRIGGER IF NOT EXISTS count_new_study AFTER INSERT ON studies BEGIN
    INSERT INTO activity VALUES (CAST(NEW.first_at / 60 AS INTEGER), 'study', 1, 0)
    ON CONFLICT DO UPDATE SET objects = objects + 1;
END;

CREATE TRIGGER IF NOT EXISTS count_new_instance AFTER INSERT ON instances BEGIN
    INSERT INTO totals VALUES ('instance', NEW.origin, NEW.status, 1, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET objects = objects + 1, bytes = bytes + excluded.bytes;
    INSERT INTO activity VALUES (CAST(NEW.received_at / 60 AS INTEGER), NEW.origin, 1, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET objects = objects + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER IF NOT EXISTS count_changed_instance AFTER UPDATE OF status, size_bytes ON instances
WHEN OLD.status <> NEW.status OR OLD.size_bytes <> NEW.size_bytes BEGIN
    UPDATE totals SET objects = objects - 1, bytes = bytes - OLD.size_bytes
    WHERE kind = 'instance' AND name = OLD.origin AND status = OLD.status;
    INSERT INTO totals VALUES ('instance', NEW.origin, NEW.status, 1, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET objects = objects + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER IF NOT EXISTS count_deleted_instance AFTER DELETE ON instances BEGIN
    UPDATE totals SET objects = objects - 1, bytes = bytes - OLD.size_bytes
    WHERE kind = 'instance' AND name = OLD.origin AND status = OLD.status;
END;

CREATE TRIGGER IF NOT EXISTS count_new_job AFTER INSERT ON jobs BEGIN
    INSERT INTO totals VALUES ('job', '', NEW.status, 1, 0) ON CONFLICT DO UPDATE SET objects = objects + 1;
END;

CREATE TRIGGER IF NOT EXISTS count_changed_job AFTER UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status BEGIN
    UPDATE totals SET objects = objects - 1 WHERE kind = 'job' AND name = '' AND status = OLD.status;
    INSERT INTO totals VALUES ('job', '', NEW.status, 1, 0) ON CONFLICT DO UPDATE SET objects = objects + 1;
END;

CREATE TRIGGER IF NOT EXISTS count_deleted_job AFTER DELETE ON jobs BEGIN
    UPDATE totals SET objects = objects - 1 WHERE kind = 'job' AND name = '' AND status = OLD.status;
END;

CREATE TRIGGER IF NOT EXISTS count_new_delivery AFTER INSERT ON deliveries BEGIN
    INSERT INTO totals VALUES ('delivery', NEW.destination, NEW.status, 1, 0)
    ON CONFLICT DO UPDATE SET objects = objects + 1;
END;

CREATE TRIGGER IF NOT EXISTS count_changed_delivery AFTER UPDATE OF status ON deliveries
WHEN OLD.status <> NEW.status BEGIN
    UPDATE totals SET objects = objects - 1
    WHERE kind = 'delivery' AND name = OLD.destination AND status = OLD.status;
    INSERT INTO totals VALUES ('delivery', NEW.destination, NEW.status, 1, 0)
    ON CONFLICT DO UPDATE SET objects = objects + 1;
END;

CREATE TRIGGER IF NOT EXISTS count_deleted_delivery AFTER DELETE ON deliveries BEGIN
    UPDATE totals SET objects = objects - 1
    WHERE kind = 'delivery' AND name = OLD.destination AND status = OLD.status;
END;

CREATE TRIGGER IF NOT EXISTS note_taken_delivery AFTER UPDATE OF delivered_at ON deliveries
WHEN NEW.delivered_at IS NOT NULL AND OLD.delivered_at IS NOT NEW.delivered_at BEGIN
    INSERT INTO activity
    SELECT CAST(NEW.delivered_at / 60 AS INTEGER), 'delivered', 1, size_bytes
    FROM instances WHERE id = NEW.instance_id
    ON CONFLICT DO UPDATE SET objects = objects + 1, bytes = bytes + excluded.bytes;
    INSERT INTO destinations (name, failures, next_try_at, worked_at)
    VALUES (NEW.destination, 0, 0, NEW.delivered_at)
    ON CONFLICT DO UPDATE SET worked_at = max(coalesce(worked_at, 0), excluded.worked_at);
END;

-- Two days suffice for "today" wherever midnight is.
CREATE TRIGGER IF NOT EXISTS forget_old_activity AFTER INSERT ON activity BEGIN
    DELETE FROM activity WHERE minute < NEW.minute - 2880;
END;

CREATE TRIGGER IF NOT EXISTS pull_transition BEFORE UPDATE OF status ON pulls
WHEN OLD.status <> NEW.status AND NOT EXISTS (
    SELECT 1 FROM transitions WHERE kind = 'pull' AND source = OLD.status AND target = NEW.status)
BEGIN SELECT RAISE(ABORT, 'illegal transition of a pull'); END;
