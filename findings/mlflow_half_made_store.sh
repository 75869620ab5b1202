#!/usr/bin/env bash
# mlflow 3.17.2, its SQLite store: one whose making was cut short is refused ever after.
#
# A new `sqlite:///mlflow.db` is made by the first client that opens it: some 1,700 statements, of which many
# are committed alone (SQLite, and alembic's migrations, one by one). One would guess that the next client goes
# on where a process ended in the middle, or begins anew. It repeats the migration that was under way, meets what
# that has made already, and fails; so does each one after it, though the file holds no experiment and no run.
# Way out: make the file under another name, and rename it when it is whole.
#
# Output seen:
#   ended at INSERT INTO _alembic_tmp_runs: refused twice, (sqlite3.OperationalError) table _alembic_tmp_runs already exists
#   ended at UPDATE alembic_version SET version_num='728d730b5ebd': refused twice, (sqlite3.OperationalError) table registered_model_tags already exists
#   not ended: opened
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'mlflow==3.17.2' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import logging, os, subprocess, sys
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

def open_store(uri, last):
    """Open a store; end the process before a statement that begins so, as if it had been killed."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from mlflow import MlflowClient
    @event.listens_for(Engine, "before_cursor_execute")
    def look(connection, cursor, statement, *_):
        if last and statement.startswith(last):
            os._exit(9)
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    MlflowClient(uri, registry_uri=uri).search_experiments()

if len(sys.argv) == 4:
    try:
        open_store(sys.argv[2], sys.argv[3])
    except Exception as error:
        print(str(error).splitlines()[0])
        raise SystemExit(1)
    raise SystemExit(0)

def once(name, last=""):
    uri = f"sqlite:///{sys.argv[1]}/{name}.db"
    done = subprocess.run([sys.executable, __file__, "one", uri, last], capture_output=True, text=True)
    return done.returncode, done.stdout.strip()

as_seen = []
for name, last in enumerate(("INSERT INTO _alembic_tmp_runs", "UPDATE alembic_version SET version_num='728d730b5ebd'")):
    ended, _ = once(name, last)
    (first, said), (second, _) = once(name), once(name)
    print(f"ended at {last}:", f"refused twice, {said}" if first and second else "opened")
    as_seen.append(ended == 9 and first == second == 1)
whole, _ = once("whole")
print("not ended:", "refused" if whole else "opened")
raise SystemExit(not (all(as_seen) and whole == 0))
PY
"$folder/venv/bin/python" "$folder/try.py" "$folder"
