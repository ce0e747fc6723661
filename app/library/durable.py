"""DBOS on the service's own database: work that is noted before it is begun, and gone on with after
an end of the process. It listens on no port and speaks to nobody; its values are JSON."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable
from typing import Any, Final

from dbos import DBOS, DBOSConfig, Serializer, SetWorkflowID
from sqlalchemy import make_url

Fire = Callable[[int, dt.datetime], bool]
NAME: Final = "emoseek"
# Work of an earlier version of Emoseek is gone on with: raised only where it must not be.
WORK_VERSION: Final = "1"

_fire: Fire | None = None


class JsonSerializer(Serializer):
    """DBOS's own would pickle."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_refused)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "emoseek_json"


def _refused(value: Any) -> Any:
    if isinstance(value, BaseException):  # an error's words are enough
        return {"error": type(value).__name__}
    raise TypeError(f"{type(value).__name__} is not JSON")


@DBOS.step(name="fire")
def _step(schedule_id: int, slot: str) -> bool:
    assert _fire is not None
    return _fire(schedule_id, dt.datetime.fromisoformat(slot))


@DBOS.workflow(name="report_of_slot")
def _report_of_slot(schedule_id: int, slot: str) -> bool:
    return _step(schedule_id, slot)


def launch(url: str, fire: Fire) -> None:
    """Once a process at a time, until `end`.

    Args:
        url: the service's database.
        fire: has the report of a schedule's slot made; may be called again for the same one.
    """
    global _fire
    _fire = fire
    logger = logging.getLogger("dbos")
    if not logger.handlers:  # else it writes lines of its own
        logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.WARNING)
    config: DBOSConfig = {
        "name": NAME,
        "system_database_url": _plain(url),
        "serializer": JsonSerializer(),
        "application_version": WORK_VERSION,
        # One for all processes: who launches goes on with what any of them left. To fire a slot
        # that another is firing does nothing.
        "executor_id": NAME,
        "max_executor_threads": 4,
        "sys_db_pool_size": 4,
        "use_listen_notify": False,
        "notification_listener_polling_interval_sec": 60.0,
        "scheduler_polling_interval_sec": 3600.0,  # app.library.schedules knows what is due
        "enable_otlp": False,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()


def begin(schedule_id: int, slot: dt.datetime) -> None:
    """Fire a slot, if that was not begun by any process."""
    told = slot.isoformat()
    with SetWorkflowID(f"report-{schedule_id}-{told}"):
        DBOS.start_workflow(_report_of_slot, schedule_id, told)


def end() -> None:
    """What is under way is gone on with by others."""
    DBOS.destroy()


def _plain(url: str) -> str:
    """SQLAlchemy's URL without the driver, which DBOS names itself."""
    parsed = make_url(url)
    return parsed.set(drivername=parsed.get_backend_name()).render_as_string(hide_password=False)
