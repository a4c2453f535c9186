-- The flow's database. One engine writes; others read. What is written for each call names states with = and OR:
-- for IN and more than two of them SQLite makes a table, for each row.
-- States of a request:
--   waiting    submitted with arguments missing, or put back by a task's new signature
--   queued     has all it needs; also while it runs here, for local claims are not journalled
--   running    given to another node, which may outlive this engine, or must not run twice
--   done, failed, cancelled, skipped
-- States of an arrival: waiting, shared, held, used, decided, dropped, superseded, discarded, left, routing
--   (ec_jupyter/flow/arrival.py says what each means).

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;

-- state: leaving, once it was taken away and calls still run there
CREATE TABLE node (name TEXT PRIMARY KEY, address TEXT, spec TEXT, state TEXT) WITHOUT ROWID;

CREATE TABLE processor (name TEXT PRIMARY KEY, cpus INTEGER, memory INTEGER, affinity TEXT,
                        paused INTEGER NOT NULL DEFAULT 0, weight REAL NOT NULL DEFAULT 1) WITHOUT ROWID;

-- where a processor's CPUs are; no row: on the local node; cpus NULL: all it lends
CREATE TABLE processor_node (processor TEXT, node TEXT, cpus INTEGER, PRIMARY KEY (processor, node)) WITHOUT ROWID;

-- join, hold, wait and capacity hold the policies of the socket's join and queue
CREATE TABLE socket (id INTEGER PRIMARY KEY, name TEXT NOT NULL, processor TEXT NOT NULL, task INTEGER NOT NULL,
                     record TEXT NOT NULL, "join" TEXT, hold TEXT, wait REAL, capacity INTEGER);

CREATE TABLE task (id INTEGER PRIMARY KEY, socket INTEGER NOT NULL, version INTEGER NOT NULL, identity TEXT NOT NULL,
                   sha256 TEXT NOT NULL, record TEXT NOT NULL, created REAL NOT NULL, UNIQUE (socket, version));

CREATE TABLE plug (id INTEGER PRIMARY KEY, source INTEGER NOT NULL, target INTEGER NOT NULL, argument TEXT NOT NULL,
                   record TEXT NOT NULL);

-- undone: 0 in force; 1 taken back, and may be made again; 2 taken back for good; 3 an undo or redo itself
CREATE TABLE revision (n INTEGER PRIMARY KEY, change TEXT NOT NULL, text TEXT NOT NULL, time REAL NOT NULL,
                       undone INTEGER NOT NULL DEFAULT 0);

-- a run that its root alone tells of has no row: it is a party of its own, and all arguments were given
-- root and given: where the run began and, if arguments were missing, which were given (JSON)
CREATE TABLE run (id INTEGER PRIMARY KEY, root INTEGER NOT NULL, given TEXT, party INTEGER NOT NULL, submit_id TEXT,
                  replay_of INTEGER, created REAL NOT NULL);
CREATE UNIQUE INDEX run_submit ON run (root, submit_id) WHERE submit_id IS NOT NULL;
CREATE INDEX run_stranger ON run (party) WHERE party <> id;

-- runs that were submitted with a priority
CREATE TABLE rank (run INTEGER PRIMARY KEY, priority INTEGER NOT NULL);

CREATE TABLE fan (split TEXT, party INTEGER NOT NULL, n INTEGER, PRIMARY KEY (split, party)) WITHOUT ROWID;
CREATE INDEX fan_party ON fan (party);

-- arguments: JSON {name: [kind, [value, ...], [arrival, ...]]}; a negative arrival is the request that it came from, in `passed`
-- joined: the request that runs in this one's place
-- inputs, bytes, type: small values that stand here, its arguments (packed) and its result. Their identities are negative
--   (ec_jupyter/engine/row_values.py), wherever they are named; those of rows of the table value are positive
CREATE TABLE request (
    id INTEGER PRIMARY KEY, socket INTEGER NOT NULL, run INTEGER NOT NULL, tag TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
    emitted INTEGER NOT NULL DEFAULT 0, hops INTEGER NOT NULL DEFAULT 0, node TEXT, slot INTEGER, pid INTEGER,
    task INTEGER, revision INTEGER, not_before REAL, arguments TEXT NOT NULL,
    result INTEGER, error TEXT, exception INTEGER, joined INTEGER, created REAL NOT NULL, started REAL, finished REAL,
    seconds REAL, inputs BLOB, bytes BLOB, type TEXT);
CREATE INDEX request_open ON request (state, socket, id) WHERE state NOT IN ('done', 'skipped');
CREATE INDEX request_run ON request (run) WHERE run <> id;
CREATE INDEX request_joined ON request (joined) WHERE joined IS NOT NULL;

-- queued requests that are alike and have no rows of their own yet: each gets one when it ends, or once it is needed by
-- itself; body is in columns (ec_jupyter/engine/open_lots.py); id: the first. With a negative one: requests that have ended in
-- one commit and have no rows of their own yet
CREATE TABLE lot (id INTEGER PRIMARY KEY, last INTEGER NOT NULL, body BLOB NOT NULL);

-- attempts that did not end their request
CREATE TABLE attempt (request INTEGER, attempt INTEGER, state TEXT, error TEXT, started REAL, seconds REAL, slot INTEGER,
                      pid INTEGER, time REAL);
CREATE INDEX attempt_request ON attempt (request);

-- what a generator has yielded so far
CREATE TABLE emission (request INTEGER, "index" INTEGER, value INTEGER, PRIMARY KEY (request, "index")) WITHOUT ROWID;

-- mark: NULL for a plain value, else kind+lag and s where silent; kind is value, dead (a tombstone) or vacant (a
-- tombstone of an empty split): to_column and from_column in ec_jupyter/flow/arrival.py; key: of a value for a join by key
CREATE TABLE arrival (
    id INTEGER PRIMARY KEY, target INTEGER NOT NULL, argument TEXT NOT NULL, party INTEGER NOT NULL, run INTEGER NOT NULL,
    tag TEXT NOT NULL, value INTEGER, source_request INTEGER, "index" INTEGER NOT NULL, plug INTEGER, request INTEGER,
    state TEXT NOT NULL, mark TEXT, late INTEGER NOT NULL DEFAULT 0, time REAL NOT NULL, key TEXT);
-- no plug carries the same thing twice, however often its request ran
CREATE UNIQUE INDEX arrival_once ON arrival (source_request, "index", plug) WHERE source_request IS NOT NULL;
CREATE INDEX arrival_waiting ON arrival (party) WHERE state = 'waiting' OR state = 'shared' OR state = 'routing';
CREATE INDEX arrival_held ON arrival (target) WHERE state = 'held';
CREATE INDEX arrival_given ON arrival (party) WHERE source_request IS NULL;

-- values that came to where nothing joins, each of which made a call by itself: they are used, and need no more than this
CREATE TABLE passed (source INTEGER, plug INTEGER, request INTEGER NOT NULL, arrival INTEGER NOT NULL, argument TEXT NOT NULL,
                     PRIMARY KEY (source, plug)) WITHOUT ROWID;

-- place: inline (bytes), file (file), error (bytes is JSON, its arguments are values), gone (thrown away, file removed)
CREATE TABLE value (id INTEGER PRIMARY KEY, place TEXT NOT NULL, file TEXT, bytes BLOB, hash TEXT, type TEXT NOT NULL,
                    size INTEGER NOT NULL);
CREATE INDEX value_file ON value (file) WHERE file IS NOT NULL;

CREATE TABLE blob (sha256 TEXT PRIMARY KEY, bytes BLOB NOT NULL);

CREATE TABLE output (request INTEGER, stream TEXT, text TEXT, time REAL);
CREATE INDEX output_request ON output (request);

-- replies to frames that changed something (each client's newest stays: what it numbered lower was taken), so that one sent again after a cut takes effect once;
-- frame is the last of those that one tick answered, reply all of them (JSON)
CREATE TABLE accepted (client TEXT, frame INTEGER, reply TEXT, PRIMARY KEY (client, frame)) WITHOUT ROWID;

CREATE TABLE event (seq INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, subject TEXT, detail TEXT);

-- what was done in half a minute (ec_jupyter/flow/measures.py reads the text), of the last hour; kind: socket, processor, node
CREATE TABLE statistic (at INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,
                        PRIMARY KEY (at, kind, key)) WITHOUT ROWID;
