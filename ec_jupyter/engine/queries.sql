-- name: add_value
INSERT INTO value (id, place, file, bytes, type, size) VALUES (?, ?, ?, ?, ?, ?);

-- name: add_run
INSERT INTO run (id, root, given, party, submit_id, replay_of, created) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_rank
INSERT INTO rank (run, priority) VALUES (?, ?);

-- name: add_request
INSERT INTO request (id, socket, run, tag, state, hops, revision, arguments, created, inputs)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_lot
INSERT INTO lot (id, last, body) VALUES (?, ?, ?);

-- name: get_lot
SELECT body FROM lot WHERE id = ?;

-- name: drop_lot
DELETE FROM lot WHERE id = ?;

-- name: all_lots
SELECT id, last, body FROM lot ORDER BY id;

-- name: add_ended
-- a request of a lot has ended well: the one row that is written of it
INSERT INTO request (id, socket, run, state, attempt, hops, node, slot, pid, task, revision, arguments, result, created,
                     started, finished, seconds, inputs, bytes, type)
VALUES (?, ?, ?, 'done', 1, ?, 'local', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: strand
UPDATE request SET state = 'waiting', not_before = NULL, finished = NULL WHERE id = ? AND state = 'queued';

-- name: fill_request
-- a request that waited has all its arguments now
UPDATE request SET state = ?, arguments = ?, tag = ?, revision = ? WHERE id = ? AND state = 'waiting';

-- name: add_arrival
INSERT INTO arrival (id, target, argument, party, run, tag, value, source_request, "index", plug, request, state, mark, late, time, key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_passed
INSERT INTO passed (source, plug, request, arrival, argument) VALUES (?, ?, ?, ?, ?);

-- name: set_arrival
UPDATE arrival SET state = ?, request = ?, party = ? WHERE id = ?;

-- name: finish
-- store what a request came to, if nobody finished it before; the engine has checked the fence
-- (attempt) in memory, and this refuses a second end whatever memory says; a result that others may name stays
UPDATE request
   SET state = ?, result = ?, error = ?, exception = ?, attempt = ?, deaths = ?, emitted = ?, node = ?, slot = ?,
       pid = ?, task = ?, revision = ?, started = ?, finished = ?, seconds = ?,
       bytes = coalesce(?, bytes), type = coalesce(?, type)
 WHERE id = ? AND (state = 'queued' OR state = 'running' OR state = 'waiting');

-- name: finish_well
-- the same of a call that nothing was wrong with and that has yielded nothing: most are, and fewer columns are a sixth less
UPDATE request
   SET state = 'done', result = ?, attempt = ?, node = ?, slot = ?, pid = ?, task = ?, revision = ?, started = ?, finished = ?,
       seconds = ?, bytes = ?, type = ?
 WHERE id = ? AND (state = 'queued' OR state = 'running');

-- name: give_up
UPDATE request SET state = 'skipped', not_before = NULL, finished = :now
 WHERE (id = :request OR joined = :request) AND (state = 'failed' OR state = 'cancelled');

-- name: again
-- back into the queue with its attempts and deaths counted; `error` stays where it had failed for good,
-- which is how a late result is known after a restart
UPDATE request SET state = 'queued', attempt = ?, deaths = ?, not_before = ?, node = NULL
 WHERE id = ? AND (state = 'queued' OR state = 'running' OR state = 'failed' OR state = 'cancelled');

-- name: claim
-- an agent is about to get a call that must not run twice, or that may outlive this engine on another machine
UPDATE request SET state = 'running', attempt = ?, node = ?, task = ? WHERE id = ? AND state = 'queued';

-- name: claimed
-- those that were given away by an engine that has ended since
SELECT id, node, task FROM request WHERE state = 'running' AND state NOT IN ('done', 'skipped') ORDER BY id;

-- name: losses
-- attempts that ended with their node: they are not charged
SELECT count(*) FROM attempt WHERE request = ? AND state = 'lost';

-- name: emitted
UPDATE request SET emitted = ? WHERE id = ?;

-- name: stick_arrival
-- a look at it has failed: it waits until its request is run again
UPDATE arrival SET mark = 'stuck' WHERE id = ? AND state = 'routing';

-- name: free_arrival
UPDATE arrival SET mark = NULL, late = ? WHERE id = ? AND state = 'routing';

-- name: fail_done
-- a plug could not take the result of a request that was done
UPDATE request SET state = 'failed', error = :error, finished = :now WHERE (id = :request OR joined = :request) AND state = 'done';

-- name: done_again
UPDATE request SET state = 'done', error = NULL WHERE (id = :request OR joined = :request) AND state = 'failed';

-- name: drop_arrival
DELETE FROM arrival WHERE id = ?;

-- name: routing
SELECT a.id, r.id, r.socket, coalesce(run.party, r.run), r.run, r.tag, a.late, a.plug, a.value, a."index", a.mark, r.state, r.error, r.hops
  FROM arrival a JOIN request r ON r.id = a.source_request LEFT JOIN run ON run.id = r.run WHERE a.state = 'routing';

-- name: joined_to
SELECT id FROM request WHERE joined = ?;

-- name: follow_again
UPDATE request SET state = 'waiting' WHERE joined = ? AND state IN ('failed', 'cancelled');

-- name: join_request
UPDATE request SET joined = ? WHERE id = ?;

-- name: finish_joined
UPDATE request SET state = ?, result = ?, error = ?, exception = ?, revision = ?, started = ?, finished = ?, seconds = ?
 WHERE joined = ? AND state NOT IN ('done', 'skipped');

-- name: add_attempt
INSERT INTO attempt (request, attempt, state, error, started, seconds, slot, pid, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: keep_attempt
-- a request that had ended is about to be queued again: its last attempt did not end it after all
INSERT INTO attempt (request, attempt, state, error, started, seconds, slot, pid, time)
SELECT id, attempt, ?, error, started, seconds, slot, pid, finished FROM request
 WHERE id = ? AND started IS NOT NULL AND attempt NOT IN (SELECT attempt FROM attempt WHERE request = request.id);

-- name: add_emission
INSERT INTO emission (request, "index", value) VALUES (?, ?, ?);

-- name: set_fan
INSERT INTO fan (split, party, n) VALUES (?, ?, ?) ON CONFLICT (split, party) DO UPDATE SET n = excluded.n;

-- name: all_clients
-- frames of a client are taken in order, so the newest that was answered tells which were taken
SELECT client, max(frame) FROM accepted GROUP BY client;

-- name: drop_client
DELETE FROM accepted WHERE client = ?;

-- name: add_accepted
INSERT INTO accepted (client, frame, reply) VALUES (?, ?, ?) ON CONFLICT (client, frame) DO UPDATE SET reply = excluded.reply;

-- name: drop_accepted
DELETE FROM accepted WHERE client = ? AND frame < ?;

-- name: find_accepted
-- answers of one tick are one row, under the last frame of it
SELECT reply FROM accepted WHERE client = ? AND frame >= ? ORDER BY frame LIMIT 1;

-- name: accepted_since
SELECT reply FROM accepted WHERE client = ? AND frame >= ? ORDER BY frame;

-- name: add_output
INSERT INTO output (request, stream, text, time) VALUES (?, ?, ?, ?);

-- name: add_event
INSERT INTO event (time, kind, subject, detail) VALUES (?, ?, ?, ?);

-- name: trim_events
DELETE FROM event WHERE seq <= (SELECT max(seq) FROM event) - 100000;

-- name: statistics
SELECT at, kind, key, text FROM statistic ORDER BY at, kind, key;

-- name: put_statistic
INSERT INTO statistic (at, kind, key, text) VALUES (?, ?, ?, ?) ON CONFLICT (at, kind, key) DO UPDATE SET text = excluded.text;

-- name: trim_statistics
DELETE FROM statistic WHERE at < ?;

-- name: add_blob
INSERT INTO blob (sha256, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: get_blob
SELECT bytes FROM blob WHERE sha256 = ?;

-- name: put_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: drop_meta
DELETE FROM meta WHERE key = ?;

-- name: fail_request
UPDATE request SET state = 'failed', error = ?, finished = ? WHERE id = ? AND state IN ('queued', 'running', 'waiting');

-- name: fail_party
UPDATE request SET state = 'failed', error = :error, finished = :now
 WHERE (run = :party OR run IN (SELECT id FROM run WHERE party = :party AND party <> id)) AND state IN ('queued', 'running', 'waiting');

-- name: all_meta
SELECT key, value FROM meta;

-- name: put_socket
INSERT INTO socket (id, name, processor, task, record, "join", hold, wait) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, processor = excluded.processor, task = excluded.task,
    record = excluded.record, "join" = excluded."join", hold = excluded.hold, wait = excluded.wait;

-- name: drop_socket
DELETE FROM socket WHERE id = ?;

-- name: put_plug
INSERT INTO plug (id, source, target, argument, record) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET record = excluded.record;

-- name: drop_plug
DELETE FROM plug WHERE id = ?;

-- name: put_processor
INSERT INTO processor (name, cpus, memory, affinity, paused, weight) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET cpus = excluded.cpus, memory = excluded.memory, affinity = excluded.affinity, paused = excluded.paused,
                                 weight = excluded.weight;

-- name: drop_processor
DELETE FROM processor WHERE name = ?;

-- name: put_processor_node
INSERT INTO processor_node (processor, node, cpus) VALUES (?, ?, ?);

-- name: drop_processor_nodes
DELETE FROM processor_node WHERE processor = ?;

-- name: all_processor_nodes
SELECT processor, node, cpus FROM processor_node ORDER BY processor, node;

-- name: put_node
INSERT INTO node (name, address, spec, state) VALUES (?, ?, ?, '')
ON CONFLICT (name) DO UPDATE SET address = excluded.address, spec = excluded.spec, state = excluded.state;

-- name: leave_node
-- taken away; kept until the last call there has ended, for the next engine has to ask it too
UPDATE node SET state = 'leaving' WHERE name = ?;

-- name: drop_node
DELETE FROM node WHERE name = ? AND state = 'leaving';

-- name: all_nodes
SELECT name, spec, state FROM node ORDER BY name;

-- name: put_task
INSERT INTO task (id, socket, version, identity, sha256, record, created) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- name: drop_task
DELETE FROM task WHERE id = ?;

-- name: put_revision
INSERT INTO revision (n, change, text, time, undone) VALUES (?, ?, ?, ?, ?);

-- name: keep_undone
-- a new edit: what was undone stays so
UPDATE revision SET undone = 2 WHERE undone = 1;

-- name: set_undone
UPDATE revision SET undone = ? WHERE n = ?;

-- name: last_revision
SELECT n, change, text FROM revision WHERE undone = 0 ORDER BY n DESC LIMIT 1;

-- name: first_undone
SELECT n, change, text FROM revision WHERE undone = 1 ORDER BY n LIMIT 1;

-- name: history
SELECT n, text, time, undone FROM revision ORDER BY n;

-- name: all_sockets
SELECT id, record FROM socket;

-- name: socket_columns
SELECT id, name, processor, task FROM socket;

-- name: task_columns
SELECT id, socket, version, sha256 FROM task ORDER BY id;

-- name: plug_columns
SELECT p.id, s.name, t.name, p.argument, p.source, p.target FROM plug p JOIN socket s ON s.id = p.source JOIN socket t ON t.id = p.target;

-- name: newest_tasks
SELECT socket, max(id) FROM task GROUP BY socket;

-- name: changes
SELECT change FROM revision ORDER BY n;

-- name: all_plugs
SELECT id, record FROM plug;

-- name: all_tasks
SELECT id, record FROM task;

-- name: all_processors
SELECT name, cpus, memory, affinity, paused, weight FROM processor;

-- name: counts
-- what two submits have brought together is one call
SELECT socket, state, count(*) FROM request WHERE joined IS NULL GROUP BY socket, state;

-- name: top_ids
SELECT max(coalesce((SELECT max(id) FROM request), 0), coalesce((SELECT max(last) FROM lot), 0)), (SELECT max(id) FROM value),
       max(coalesce((SELECT max(id) FROM arrival), 0), coalesce((SELECT max(arrival) FROM passed), 0)),
       max(coalesce((SELECT max(id) FROM socket), 0), coalesce((SELECT max(id) FROM plug), 0), coalesce((SELECT max(id) FROM task), 0)),
       (SELECT max(n) FROM revision);

-- name: queued
-- the head of one socket's queue
SELECT r.id, r.socket, r.run, coalesce(run.party, r.run), r.tag, r.attempt, r.deaths, r.emitted, r.hops, r.not_before,
       r.arguments, r.error IS NOT NULL, r.created, r.inputs, r.state
  FROM request r LEFT JOIN run ON run.id = r.run
 WHERE r.state = 'queued' AND r.state NOT IN ('done', 'skipped') AND r.socket = ? AND r.id > ?
 ORDER BY r.id LIMIT ?;

-- name: ranks
-- runs with a priority that have not ended
SELECT run, priority FROM rank
 WHERE EXISTS (SELECT 1 FROM request WHERE id = rank.run AND state NOT IN ('done', 'skipped'))
    OR EXISTS (SELECT 1 FROM request WHERE run = rank.run AND run <> id AND state NOT IN ('done', 'skipped'))
    OR EXISTS (SELECT 1 FROM arrival WHERE party = coalesce((SELECT party FROM run WHERE id = rank.run), rank.run)
                  AND (state = 'waiting' OR state = 'shared' OR state = 'routing'));

-- name: queued_ranked
-- what is queued of them, as `queued` has it
SELECT r.id, r.socket, r.run, coalesce(run.party, r.run), r.tag, r.attempt, r.deaths, r.emitted, r.hops, r.not_before,
       r.arguments, r.error IS NOT NULL, r.created, r.inputs, r.state
  FROM rank JOIN request r ON r.id = rank.run OR (r.run = rank.run AND r.run <> r.id) LEFT JOIN run ON run.id = r.run
 WHERE r.state = 'queued' AND r.state NOT IN ('done', 'skipped')
 ORDER BY r.id;

-- name: one_queued
SELECT r.id, r.socket, r.run, coalesce(run.party, r.run), r.tag, r.attempt, r.deaths, r.emitted, r.hops, r.not_before,
       r.arguments, r.error IS NOT NULL, r.created, r.inputs, r.state
  FROM request r LEFT JOIN run ON run.id = r.run WHERE r.id = ?;

-- name: queued_sockets
SELECT socket, count(*) FROM request WHERE state = 'queued' AND state NOT IN ('done', 'skipped') GROUP BY socket;

-- name: last_start
-- when calls of a socket that came of late have started, the last of them
SELECT max(at) FROM (SELECT coalesce(started, finished) AS at FROM request WHERE socket = ? AND finished IS NOT NULL
                      ORDER BY id DESC LIMIT 100);

-- name: get_values
SELECT id, place, file, bytes, type, size FROM value WHERE id IN (SELECT value FROM json_each(?));

-- name: values_in_rows
SELECT id, inputs, bytes, type FROM request WHERE id IN (SELECT value FROM json_each(?));

-- name: joining_parties
-- parties with unfinished requests, of runs that began where a join lies ahead or lacked arguments
SELECT DISTINCT coalesce(run.party, r.run) FROM request r LEFT JOIN run ON run.id = r.run
 WHERE r.state NOT IN ('done', 'skipped') AND r.joined IS NULL
   AND (run.given IS NOT NULL
        OR coalesce(run.root, CASE WHEN r.run = r.id THEN r.socket ELSE (SELECT socket FROM request root WHERE root.id = r.run) END)
           IN (SELECT value FROM json_each(?)));

-- name: followers
-- requests that end with the call that they were joined to
SELECT joined, id FROM request WHERE state = 'waiting' AND state NOT IN ('done', 'skipped') AND joined IS NOT NULL ORDER BY id;

-- name: waiting_parties
SELECT DISTINCT party, target, argument FROM arrival WHERE state = 'waiting' OR state = 'shared' OR state = 'routing';

-- name: arrivals_run_independent
-- what waits or is held at these sockets, by whatever run it came
SELECT id, target, argument, party, run, tag, value, source_request, "index", plug, request, state, mark, late, time, key
  FROM arrival WHERE (state = 'waiting' OR state = 'shared' OR state = 'routing') AND target IN (SELECT value FROM json_each(:sockets))
UNION ALL
SELECT id, target, argument, party, run, tag, value, source_request, "index", plug, request, state, mark, late, time, key
  FROM arrival WHERE state = 'held' AND target IN (SELECT value FROM json_each(:sockets));

-- name: arrivals_aside
-- values that were set aside, or wait in parties that were; tombstones among them are shown to nobody
SELECT a.id, a.target, a.argument, a.party, a.run, a.tag, a.source_request, a.time, s.name, a.value
  FROM arrival a LEFT JOIN request r ON r.id = a.source_request LEFT JOIN socket s ON s.id = r.socket
 WHERE a.value IS NOT NULL AND a.id IN (SELECT value FROM json_each(:values)) AND a.state IN ('waiting', 'shared', 'routing', 'held')
UNION
SELECT a.id, a.target, a.argument, a.party, a.run, a.tag, a.source_request, a.time, s.name, a.value
  FROM arrival a LEFT JOIN request r ON r.id = a.source_request LEFT JOIN socket s ON s.id = r.socket
 WHERE a.value IS NOT NULL AND a.party IN (SELECT value FROM json_each(:parties)) AND (a.state = 'waiting' OR a.state = 'shared' OR a.state = 'routing');

-- name: arrival_times
SELECT id, time FROM arrival WHERE (state = 'waiting' OR state = 'shared' OR state = 'routing') AND target IN (SELECT value FROM json_each(?));

-- name: runs_of
SELECT r.id, coalesce(run.root, r.socket), run.given, r.id FROM request r LEFT JOIN run ON run.id = r.id
 WHERE r.id IN (SELECT value FROM json_each(:parties)) AND r.run = r.id AND coalesce(run.party, r.id) = r.id
UNION ALL
SELECT id, root, given, party FROM run WHERE party <> id AND party IN (SELECT value FROM json_each(:parties));

-- name: requests_of
-- one that is skipped and was never a call has no arguments
SELECT r.id, r.socket, r.run, r.tag, r.state, r.joined, r.arguments = '{}' FROM request r
 WHERE r.id IN (SELECT value FROM json_each(:runs)) OR r.run <> r.id AND r.run IN (SELECT value FROM json_each(:runs));

-- name: arrivals_from
SELECT id, target, argument, party, run, tag, value, source_request, "index", plug, request, state, mark, late, time, key
  FROM arrival WHERE source_request IN (SELECT value FROM json_each(:requests))
UNION ALL
SELECT p.arrival, r.socket, p.argument, coalesce(run.party, r.run), r.run, r.tag, NULL, p.source, 0, p.plug, r.id, 'used', NULL, 0, r.created, NULL
  FROM passed p JOIN request r ON r.id = p.request LEFT JOIN run ON run.id = r.run
 WHERE p.source IN (SELECT value FROM json_each(:requests));

-- name: arrivals_given
SELECT id, target, argument, party, run, tag, value, source_request, "index", plug, request, state, mark, late, time, key
  FROM arrival
 WHERE source_request IS NULL AND party IN (SELECT value FROM json_each(?));

-- name: fans_of
SELECT party, split, n FROM fan WHERE party IN (SELECT value FROM json_each(?));

-- name: replays_among
SELECT party FROM run WHERE replay_of IS NOT NULL AND party IN (SELECT value FROM json_each(?));

-- name: unfinished_of_party
SELECT r.socket, r.tag, r.state FROM request r
 WHERE r.id IN (SELECT id FROM request WHERE id = :party
                UNION ALL SELECT id FROM request WHERE run = :party AND run <> id
                UNION ALL SELECT id FROM run WHERE party = :party AND party <> id
                UNION ALL SELECT q.id FROM run JOIN request q ON q.run = run.id AND q.run <> q.id
                           WHERE run.party = :party AND run.party <> run.id)
   AND +r.state NOT IN ('done', 'skipped');

-- name: unfinished_of_parties
-- the same of many parties
SELECT one.value, r.socket, r.tag FROM json_each(?) AS one JOIN request r ON r.id IN
       (SELECT id FROM request WHERE id = one.value
        UNION ALL SELECT id FROM request WHERE run = one.value AND run <> id
        UNION ALL SELECT id FROM run WHERE party = one.value AND party <> id
        UNION ALL SELECT q.id FROM run JOIN request q ON q.run = run.id AND q.run <> q.id
                   WHERE run.party = one.value AND run.party <> run.id)
 WHERE +r.state NOT IN ('done', 'skipped');

-- name: failed_of
-- calls of these sockets that should have brought something, and will not by themselves
SELECT coalesce(run.party, r.run), r.socket, r.tag FROM request r LEFT JOIN run ON run.id = r.run
 WHERE r.state IN ('failed', 'cancelled') AND r.joined IS NULL AND r.socket IN (SELECT value FROM json_each(?));

-- name: unfinished_of_run
SELECT count(*) FROM request r WHERE (r.id = :run OR r.run = :run AND r.run <> r.id) AND r.state NOT IN ('done', 'skipped');

-- name: note_run
-- a run that had no row is about to become another party's
INSERT INTO run (id, root, party, created) SELECT id, socket, id, created FROM request WHERE id = :party ON CONFLICT (id) DO NOTHING;

-- name: merge_runs
UPDATE run SET party = :older WHERE id = :party OR party = :party AND party <> id;

-- name: merge_arrivals
UPDATE arrival SET party = :older WHERE party = :party AND (state = 'waiting' OR state = 'shared' OR state = 'routing' OR source_request IS NULL);

-- name: merge_fans
UPDATE fan SET party = :older WHERE party = :party;

-- name: end_shared
UPDATE arrival SET state = 'used' WHERE party = ? AND state = 'shared';

-- name: find_submit
SELECT id FROM run WHERE root = ? AND submit_id = ?;

-- name: small_results
-- a request that was joined to another one names that one's result
SELECT r.id, coalesce(o.bytes, v.bytes), coalesce(o.type, v.type)
  FROM request r LEFT JOIN request o ON o.id = -r.result / 64 LEFT JOIN value v ON v.id = r.result
 WHERE r.id IN (SELECT value FROM json_each(?)) AND r.state = 'done' AND (o.bytes IS NOT NULL OR v.place = 'inline');

-- name: unfinished_among
SELECT id FROM request WHERE id IN (SELECT value FROM json_each(?)) AND state IN ('waiting', 'queued', 'running');

-- name: looked_at
-- values on their way through a plug, of those named by the calls that look at them
SELECT id FROM arrival WHERE id IN (SELECT -value FROM json_each(?)) AND state = 'routing';

-- name: request_ids
SELECT id FROM request WHERE id IN (SELECT value FROM json_each(?));

-- name: attempts
SELECT attempt, state, error, started, seconds, slot, pid FROM attempt WHERE request = ? ORDER BY rowid;

-- name: output_times
SELECT stream, text, time FROM output WHERE request = ? ORDER BY rowid;

-- name: asked
-- the oldest questions of a socket
SELECT r.id, r.run, coalesce(run.party, r.run), r.tag, r.created, r.not_before, r.arguments
  FROM request r LEFT JOIN run ON run.id = r.run
 WHERE r.state = 'queued' AND r.state NOT IN ('done', 'skipped') AND r.socket = ? ORDER BY r.id LIMIT ?;

-- name: party_asked
SELECT count(*) FROM request r
 WHERE r.id IN (SELECT id FROM request WHERE id = :party
                UNION ALL SELECT id FROM request WHERE run = :party AND run <> id
                UNION ALL SELECT id FROM run WHERE party = :party AND party <> id
                UNION ALL SELECT q.id FROM run JOIN request q ON q.run = run.id AND q.run <> q.id
                           WHERE run.party = :party AND run.party <> run.id)
   AND r.joined IS NULL AND r.state = 'queued' AND r.socket IN (SELECT value FROM json_each(:asking));

-- name: outputs
SELECT stream, text FROM output WHERE request = ? ORDER BY rowid;

-- name: missed
-- what calls of a socket came to from some revision on; and what open ones yielded
SELECT r.id, r.state, r.result, r.error, r.run, r.tag, r.emitted, coalesce(run.party, r.run)
  FROM request r LEFT JOIN run ON run.id = r.run
 WHERE r.socket = :source AND r.joined IS NULL
   AND (r.state IN ('done', 'failed', 'skipped') AND r.revision >= :revision
        OR r.emitted > 0 AND r.state IN ('queued', 'running'))
 ORDER BY r.id;

-- name: sources_of
SELECT id, socket, emitted FROM request WHERE id IN (SELECT value FROM json_each(?));

-- name: brought
-- what a call sent to an argument, and by which plugs
SELECT id, tag, plug, state, mark FROM arrival
 WHERE source_request = :request AND target = :target AND argument = :argument AND state <> 'routing'
UNION ALL
SELECT p.arrival, r.tag, p.plug, 'used', NULL FROM passed p JOIN request r ON r.id = p.request
 WHERE p.source = :request AND r.socket = :target AND p.argument = :argument;

-- name: carried_by
SELECT 1 FROM arrival WHERE source_request = :source AND "index" = :number AND plug = :plug
UNION ALL
SELECT 1 FROM passed WHERE source = :source AND plug = :plug AND :number = 0;

-- name: redraw_arrival
UPDATE arrival SET plug = ? WHERE id = ? AND state = 'routing';

-- name: carried
SELECT "index", tag FROM arrival WHERE source_request = :source AND plug = :plug
UNION ALL
SELECT 0, r.tag FROM passed p JOIN request r ON r.id = p.request WHERE p.source = :source AND p.plug = :plug;

-- name: met
UPDATE request SET revision = ? WHERE id = ?;

-- name: emissions
SELECT value FROM emission WHERE request = ? ORDER BY "index";

-- name: arrival_row
SELECT id, target, argument, party, run, tag, value, source_request, "index", plug, request, state, mark, late, time
  FROM arrival WHERE id = ?;

-- name: fed_by
SELECT request, argument, source_request FROM arrival WHERE source_request = :request AND request IS NOT NULL
UNION ALL
SELECT request, argument, source FROM passed WHERE source = :request;

-- name: versions
SELECT record, created FROM task WHERE socket = ? ORDER BY version;

-- name: party_states
SELECT r.state, count(*) FROM request r
 WHERE r.id IN (SELECT id FROM request WHERE id = :party
                UNION ALL SELECT id FROM request WHERE run = :party AND run <> id
                UNION ALL SELECT id FROM run WHERE party = :party AND party <> id
                UNION ALL SELECT q.id FROM run JOIN request q ON q.run = run.id AND q.run <> q.id
                           WHERE run.party = :party AND run.party <> run.id)
   AND r.joined IS NULL
 GROUP BY r.state;

-- name: ids_of_party
SELECT id FROM request WHERE id = :party
UNION ALL SELECT id FROM request WHERE run = :party AND run <> id
UNION ALL SELECT id FROM run WHERE party = :party AND party <> id
UNION ALL SELECT q.id FROM run JOIN request q ON q.run = run.id AND q.run <> q.id
           WHERE run.party = :party AND run.party <> run.id;

-- name: party_of
SELECT coalesce(run.party, r.id) FROM request r LEFT JOIN run ON run.id = r.id WHERE r.id = ? AND r.run = r.id;

-- name: made_by
-- socket and task of the call whose result a file is
SELECT r.socket, r.task FROM request r JOIN value v ON v.id = r.result
 WHERE r.id = ? AND v.file = ? AND r.state = 'done';

-- name: files
SELECT file FROM value WHERE file IS NOT NULL;

-- name: thrown_away
-- values in files that came to an argument and were thrown away there, and that nothing else names
SELECT id, file FROM value WHERE id IN (
  SELECT v.id FROM arrival a JOIN value v ON v.id = a.value
   WHERE v.file IS NOT NULL AND a.state IN ('discarded', 'superseded', 'dropped', 'left')
  EXCEPT SELECT value FROM arrival WHERE state NOT IN ('discarded', 'superseded', 'dropped', 'left')
  EXCEPT SELECT result FROM request
  EXCEPT SELECT exception FROM request
  EXCEPT SELECT value FROM emission
  EXCEPT SELECT id.value FROM request r, json_each(r.arguments) argument, json_each(argument.value, '$[1]') id);

-- name: set_given
-- a root request lacks arguments now, so its run meets those that bring them
INSERT INTO run (id, root, given, party, created) SELECT id, socket, :given, id, created FROM request WHERE id = :run
ON CONFLICT (id) DO UPDATE SET given = excluded.given;

-- name: forget_value
UPDATE value SET place = 'gone', file = NULL, bytes = NULL WHERE id = ?;

-- name: run_roots
-- requests with which a run began that is a party of its own, newest first
SELECT r.id, r.socket, r.created FROM request r
 WHERE r.id <= :top AND r.id > :low AND r.run = r.id AND r.socket IN (SELECT value FROM json_each(:sockets))
   AND coalesce((SELECT party FROM run WHERE run.id = r.id), r.id) = r.id
 ORDER BY r.id DESC LIMIT :limit;

-- name: run_roots_of
SELECT id, socket, created FROM request WHERE id = :party;

-- name: spans
-- when each call ran, newest first
SELECT id, run, socket, state, attempt, node, slot, started, seconds FROM request
 WHERE id <= :top AND id > :low AND started IS NOT NULL AND joined IS NULL ORDER BY id DESC LIMIT :limit;

-- name: spans_of_attempts
SELECT a.request, r.run, r.socket, a.state, a.attempt, json_extract(a.error, '$.node'), a.slot, a.started, a.seconds
  FROM attempt a JOIN request r ON r.id = a.request
 WHERE a.request IN (SELECT value FROM json_each(?)) AND a.started IS NOT NULL;

-- name: all_revisions
SELECT n, change, text, time, undone FROM revision ORDER BY n;

-- name: began
SELECT (SELECT time FROM revision ORDER BY n LIMIT 1), (SELECT created FROM request ORDER BY id LIMIT 1);

-- name: past_requests
-- states of requests at a time, and the newest of each
SELECT socket,
       CASE WHEN finished <= :time AND state NOT IN ('queued', 'running', 'waiting') THEN state
            WHEN started <= :time AND finished > :time OR id IN (SELECT value FROM json_each(:running)) THEN 'running'
            WHEN state = 'waiting' THEN 'waiting' ELSE 'queued' END AS was,
       count(*), max(id)
  FROM request WHERE id >= :low AND id < :high AND created <= :time AND joined IS NULL GROUP BY socket, was;

-- name: past_arrivals
-- values that had come, and that no call had taken yet
SELECT a.target, a.argument, a.plug, count(*) FROM arrival a LEFT JOIN request r ON r.id = a.request
 WHERE a.id >= :low AND a.id < :high AND a.time <= :time AND a.value IS NOT NULL
   AND (a.state = 'waiting' OR a.state = 'used' AND r.created > :time)
 GROUP BY a.target, a.argument, a.plug;
