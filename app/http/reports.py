"""Reports: asked for, followed, read as JSON, CSV or a page, deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import HTMLResponse, Response

from app.http.clusters import MOST_RUNS, Cursor, cursor_id
from app.http.parameters import library_of
from app.http.problems import responses
from app.http.report_csv import csv_of
from app.http.report_page import POLICY, page_of
from app.http.report_schemas import ReportBegin, ReportContent, ReportPage, ReportState
from app.library import Library

router = APIRouter(prefix="/api/v1/reports", tags=["reports"])

ReportId = Annotated[int, Path(ge=1, le=MOST_RUNS, description="A report's id.")]
# The page needs nothing but itself: no script, nothing from elsewhere, whatever a name says.
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
}


@router.post("", status_code=202, responses=responses(), summary="Have a report made")
def begin_report(wanted: ReportBegin, library: Library = Depends(library_of)) -> ReportState:
    """In the background, one after the other; it goes on after an end of the service."""
    report = library.reports.begin(wanted.name, wanted.filters.wanted(), wanted.settings.wanted())
    return ReportState.of(report)


@router.get("", responses=responses(), summary="Reports, newest first")
def list_reports(
    schedule_id: int | None = Query(None, ge=1, le=MOST_RUNS),
    limit: int = Query(50, ge=1, le=1000),
    cursor: Cursor = None,
    library: Library = Depends(library_of),
) -> ReportPage:
    before = None if cursor is None else cursor_id(cursor)
    page = library.reports.page(limit + 1, before, schedule_id)
    return ReportPage(
        reports=[ReportState.of(report) for report in page[:limit]],
        next_cursor=str(page[limit - 1].id) if len(page) > limit else None,
    )


@router.get("/{report_id}.json", responses=responses(404, 409), summary="A report as JSON")
def get_report_json(report_id: ReportId, library: Library = Depends(library_of)) -> ReportContent:
    return ReportContent.model_validate(library.reports.content(report_id))


@router.get(
    "/{report_id}.html",
    response_class=HTMLResponse,
    responses=responses(404, 409),
    summary="A report as a page",
)
def get_report_page(report_id: ReportId, library: Library = Depends(library_of)) -> HTMLResponse:
    """In one file that asks for nothing else."""
    return HTMLResponse(page_of(library.reports.content(report_id)), headers=PAGE_HEADERS)


@router.get(
    "/{report_id}.csv",
    response_class=Response,
    responses={**responses(404, 409), 200: {"content": {"text/csv": {}}}},
    summary="A report's table as CSV",
)
def get_report_csv(report_id: ReportId, library: Library = Depends(library_of)) -> Response:
    """UTF-8, a row for each cluster. Texts that begin as a formula does get an apostrophe."""
    name = f'attachment; filename="report-{report_id}.csv"'
    return Response(
        csv_of(library.reports.content(report_id)),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": name},
    )


@router.get("/{report_id}", responses=responses(404), summary="How far a report is")
def get_report(report_id: ReportId, library: Library = Depends(library_of)) -> ReportState:
    return ReportState.of(library.reports.get(report_id))


@router.delete(
    "/{report_id}", status_code=204, responses=responses(404), summary="Delete a report, or end it"
)
def delete_report(report_id: ReportId, library: Library = Depends(library_of)) -> None:
    """With its clusters. The slot that it was made for gets no other one."""
    library.reports.remove(report_id)
