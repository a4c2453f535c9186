/** Made by tests/store/picture_frames.py: an engine sends what types.ts says, or tsc fails. */

import type { Statistics } from '../src/editor/panels/course';
import type { Told } from '../src/editor/panels/pages';
import type { Answer, Graph, Metrics, Shown, SocketCounts } from '../src/editor/types';

const sent = <Type>(frame: Type): Type => frame;

// prettier-ignore
export const graph: Graph = sent({
 "flow": "words",
 "revision": 7,
 "processors": {
  "main": {
   "cpus": null,
   "paused": false,
   "memory": null,
   "affinity": null,
   "nodes": {
    "local": null
   },
   "weight": 1.0
  }
 },
 "sockets": {
  "load": {
   "processor": "main",
   "group": null,
   "paused": false,
   "threads": 1,
   "retries": 0,
   "backoff": 1.0,
   "timeout": null,
   "once": false,
   "fresh": false,
   "memory": null,
   "priority": 0,
   "rate": null,
   "cache": null,
   "limit": null,
   "full": "block",
   "keep": null,
   "concurrent": 1,
   "fixed": {},
   "box": [
    20,
    60,
    232,
    176
   ],
   "placed": false,
   "key": null,
   "returns": null,
   "doc": "",
   "task": {
    "version": 1,
    "file": "",
    "signature": [
     {
      "name": "path",
      "kind": "POSITIONAL_OR_KEYWORD",
      "required": true,
      "default": null,
      "annotation": null
     }
    ],
    "stale": [],
    "generator": false,
    "parked": false,
    "ask": null,
    "source": ""
   }
  },
  "count": {
   "processor": "main",
   "group": null,
   "paused": false,
   "threads": 1,
   "retries": 0,
   "backoff": 1.0,
   "timeout": null,
   "once": false,
   "fresh": false,
   "memory": null,
   "priority": 0,
   "rate": null,
   "cache": null,
   "limit": null,
   "full": "block",
   "keep": null,
   "concurrent": 1,
   "fixed": {},
   "box": [
    352,
    48,
    232,
    200
   ],
   "placed": false,
   "key": null,
   "returns": null,
   "doc": "",
   "task": {
    "version": 1,
    "file": "",
    "signature": [
     {
      "name": "text",
      "kind": "POSITIONAL_OR_KEYWORD",
      "required": true,
      "default": null,
      "annotation": null
     },
     {
      "name": "least",
      "kind": "POSITIONAL_OR_KEYWORD",
      "required": false,
      "default": null,
      "annotation": null
     }
    ],
    "stale": [],
    "generator": false,
    "parked": false,
    "ask": null,
    "source": ""
   }
  },
  "join": {
   "processor": "main",
   "group": null,
   "paused": false,
   "threads": 1,
   "retries": 0,
   "backoff": 1.0,
   "timeout": null,
   "once": false,
   "fresh": false,
   "memory": null,
   "priority": 0,
   "rate": null,
   "cache": null,
   "limit": null,
   "full": "block",
   "keep": null,
   "concurrent": 1,
   "fixed": {},
   "box": [
    684,
    48,
    232,
    200
   ],
   "placed": false,
   "key": null,
   "returns": null,
   "doc": "",
   "task": {
    "version": 1,
    "file": "",
    "signature": [
     {
      "name": "one",
      "kind": "POSITIONAL_OR_KEYWORD",
      "required": true,
      "default": null,
      "annotation": null
     },
     {
      "name": "two",
      "kind": "POSITIONAL_OR_KEYWORD",
      "required": true,
      "default": null,
      "annotation": null
     }
    ],
    "stale": [],
    "generator": false,
    "parked": false,
    "ask": null,
    "source": ""
   }
  },
  "poll": {
   "processor": "main",
   "group": null,
   "paused": false,
   "threads": 1,
   "retries": 0,
   "backoff": 1.0,
   "timeout": null,
   "once": false,
   "fresh": false,
   "memory": null,
   "priority": 0,
   "rate": null,
   "cache": null,
   "limit": null,
   "full": "block",
   "keep": null,
   "concurrent": 1,
   "fixed": {},
   "box": [
    20,
    260,
    232,
    176
   ],
   "placed": false,
   "key": null,
   "returns": null,
   "doc": "",
   "task": {
    "version": 1,
    "file": "",
    "signature": [],
    "stale": [],
    "generator": false,
    "parked": false,
    "ask": null,
    "source": ""
   }
  }
 },
 "plugs": [
  {
   "id": 7,
   "source": "load",
   "target": "count",
   "argument": "text",
   "on": "result",
   "map": false,
   "gather": false,
   "when": null,
   "pick": null,
   "hops": null
  },
  {
   "id": 8,
   "source": "count",
   "target": "join",
   "argument": "one",
   "on": "result",
   "map": false,
   "gather": false,
   "when": null,
   "pick": null,
   "hops": null
  }
 ],
 "nodes": [
  {
   "name": "local",
   "cpus": 2,
   "state": "up",
   "host": "vm",
   "python": "3.11.7",
   "version": "0.1.0",
   "error": null,
   "note": null,
   "leaving": false,
   "requirements": []
  }
 ],
 "notes": [],
 "schedules": [
  {
   "id": 11,
   "name": "poll",
   "socket": "poll",
   "every": 300.0,
   "cron": null,
   "zone": null,
   "missed": "once",
   "since": 1795962352.5983586,
   "paused": false,
   "text": "every 5m"
  }
 ]
});

// prettier-ignore
export const metrics: Metrics & { sockets: Record<string, Required<SocketCounts>> } = sent({
 "seq": 1,
 "full": true,
 "time": 1795962352.6078231,
 "sockets": {
  "load": {
   "waiting": 0,
   "queued": 0,
   "delayed": 0,
   "asked": 0,
   "running": 0,
   "done": 2,
   "failed": 0,
   "cancelled": 0,
   "skipped": 0,
   "arrived": {},
   "lists": {},
   "progress": null,
   "aside": null
  },
  "count": {
   "waiting": 0,
   "queued": 0,
   "delayed": 0,
   "asked": 0,
   "running": 0,
   "done": 1,
   "failed": 1,
   "cancelled": 0,
   "skipped": 0,
   "arrived": {},
   "lists": {},
   "progress": null,
   "aside": null
  },
  "join": {
   "waiting": 0,
   "queued": 0,
   "delayed": 0,
   "asked": 0,
   "running": 0,
   "done": 0,
   "failed": 0,
   "cancelled": 0,
   "skipped": 0,
   "arrived": {
    "one": 1
   },
   "lists": {},
   "progress": null,
   "aside": null
  },
  "poll": {
   "waiting": 0,
   "queued": 0,
   "delayed": 0,
   "asked": 0,
   "running": 0,
   "done": 0,
   "failed": 0,
   "cancelled": 0,
   "skipped": 0,
   "arrived": {},
   "lists": {},
   "progress": null,
   "aside": null
  }
 },
 "processors": {
  "main": {
   "cpus": null,
   "paused": false,
   "running": 0,
   "queued": 0,
   "trouble": null,
   "workers": 0
  }
 },
 "plugs": {
  "8": 1
 },
 "nodes": [
  {
   "since": 1795962352.6066098,
   "error": null,
   "type": null,
   "host": "vm",
   "python": "3.11.7",
   "version": "0.1.0",
   "round_trip": null,
   "memory": {
    "used": 1409286144,
    "total": 25276502016
   },
   "others": 0,
   "name": "local",
   "state": "up",
   "cpus": 2,
   "leaving": false,
   "used": 0
  }
 ],
 "idle": true
});

// prettier-ignore
export const preview: Answer & Shown = sent({
 "ok": true,
 "text": "''",
 "type": "str",
 "size": 15,
 "request": 3,
 "look": {
  "plain": ""
 }
});

// prettier-ignore
export const log: Answer & Told = sent({
 "ok": true,
 "lines": [
  {
   "time": 1795962352.5856733,
   "level": "info",
   "kind": "edit",
   "socket": null,
   "request": null,
   "run": null,
   "text": "socket load v1"
  },
  {
   "time": 1795962352.586927,
   "level": "info",
   "kind": "edit",
   "socket": null,
   "request": null,
   "run": null,
   "text": "socket count v1"
  },
  {
   "time": 1795962352.5919063,
   "level": "info",
   "kind": "edit",
   "socket": null,
   "request": null,
   "run": null,
   "text": "socket join v1"
  },
  {
   "time": 1795962352.5956984,
   "level": "info",
   "kind": "edit",
   "socket": null,
   "request": null,
   "run": null,
   "text": "plug load -> count.text"
  },
  {
   "time": 1795962352.5966563,
   "level": "info",
   "kind": "edit",
   "socket": null,
   "request": null,
   "run": null,
   "text": "plug count -> join.one"
  },
  {
   "time": 1795962352.5974643,
   "level": "info",
   "kind": "edit",
   "socket": null,
   "request": null,
   "run": null,
   "text": "socket poll v1"
  },
  {
   "time": 1795962352.5983586,
   "level": "info",
   "kind": "edit",
   "socket": null,
   "request": null,
   "run": null,
   "text": "schedule poll: every 5m"
  },
  {
   "time": 1795962352.6042466,
   "level": "error",
   "kind": "failed",
   "socket": "count",
   "request": 4,
   "run": 3,
   "text": "ZeroDivisionError: integer division or modulo by zero"
  },
  {
   "time": 1795962352.6052961,
   "level": "info",
   "kind": "stdout",
   "socket": "count",
   "request": 4,
   "run": 3,
   "text": "dividing\n"
  }
 ],
 "older": null,
 "newer": {
  "output": 1,
  "event": 1,
  "attempt": 0,
  "revision": 7
 }
});

// prettier-ignore
export const statistics: Answer & Statistics = sent({
 "ok": true,
 "time": 1795962352.6197186,
 "began": 1795962270,
 "step": 30,
 "points": 120,
 "rows": [
  {
   "of": "socket",
   "name": "load",
   "ended": 3,
   "failed": 0,
   "per_second": 0.036310944319243324,
   "p50": null,
   "p95": null,
   "waited_p50": null,
   "waited_p95": null,
   "queued": 0.0,
   "most_queued": 0,
   "running": 0.0,
   "cpu": 0.0,
   "memory": 0,
   "pulse": [
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    3,
    0,
    0
   ]
  },
  {
   "of": "socket",
   "name": "count",
   "ended": 0,
   "failed": 0,
   "per_second": 0.0,
   "p50": null,
   "p95": null,
   "waited_p50": null,
   "waited_p95": null,
   "queued": 0.0,
   "most_queued": 0,
   "running": 0.0,
   "cpu": 0.0,
   "memory": 0,
   "pulse": []
  },
  {
   "of": "socket",
   "name": "join",
   "ended": 0,
   "failed": 0,
   "per_second": 0.0,
   "p50": null,
   "p95": null,
   "waited_p50": null,
   "waited_p95": null,
   "queued": 0.0,
   "most_queued": 0,
   "running": 0.0,
   "cpu": 0.0,
   "memory": 0,
   "pulse": []
  },
  {
   "of": "socket",
   "name": "poll",
   "ended": 0,
   "failed": 0,
   "per_second": 0.0,
   "p50": null,
   "p95": null,
   "waited_p50": null,
   "waited_p95": null,
   "queued": 0.0,
   "most_queued": 0,
   "running": 0.0,
   "cpu": 0.0,
   "memory": 0,
   "pulse": []
  },
  {
   "of": "processor",
   "name": "main",
   "ended": 0,
   "failed": 0,
   "per_second": 0.0,
   "p50": null,
   "p95": null,
   "waited_p50": null,
   "waited_p95": null,
   "queued": 0.0,
   "most_queued": 0,
   "running": 0.0,
   "cpu": 0.0,
   "memory": 0,
   "pulse": []
  },
  {
   "of": "node",
   "name": "local",
   "ended": 0,
   "failed": 0,
   "per_second": 0.0,
   "p50": null,
   "p95": null,
   "waited_p50": null,
   "waited_p95": null,
   "queued": 0.0,
   "most_queued": 0,
   "running": 0.0,
   "cpu": 0.0,
   "memory": 0,
   "pulse": []
  }
 ]
});

// prettier-ignore
export const refused: Answer = sent({
 "ok": false,
 "error": "no socket named 'none'; known: count, join, load, poll",
 "type": "SocketNotFoundError"
});
