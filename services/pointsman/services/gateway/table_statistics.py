"""The routes of statistics and of the load balancer."""

from pointsman.contracts.balancer import AlgorithmAnswer, AlgorithmRequest
from pointsman.contracts.statistics import (
    FleetStatistics,
    HourlyStatistics,
    LoadBalancerStatistics,
    ServerStatistics,
    TaskStatistics,
    TypesStatistics,
)
from pointsman.services.gateway import examples, reports
from pointsman.services.gateway.asking import ask, body, nothing
from pointsman.services.gateway.roles import OPERATORS, READERS
from pointsman.services.gateway.route import Answer, Id, Route

STATISTICS, LOAD_BALANCER = "Statistics", "Load Balancer"

STATISTICS_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/stats/tasks",
        name="getTaskStatistics",
        tag=STATISTICS,
        summary="Counts and times of a day or a range",
        roles=READERS,
        act=ask("statistics", "tasks", reports.period),
        query=reports.RangeQuery,
        answers={200: Answer(description="The figures.", body=TaskStatistics, example=examples.TASK_STATISTICS)},
    ),
    Route(
        method="GET",
        path="/api/stats/hourly",
        name="getHourlyStatistics",
        tag=STATISTICS,
        summary="A day in 24 hours",
        roles=READERS,
        act=ask("statistics", "hourly", reports.period),
        query=reports.DateQuery,
        answers={200: Answer(description="24 entries.", body=HourlyStatistics, example=examples.HOURLY_STATISTICS)},
    ),
    Route(
        method="GET",
        path="/api/stats/types",
        name="getTypesStatistics",
        tag=STATISTICS,
        summary="Counts and times of each task type",
        roles=READERS,
        act=ask("statistics", "types", reports.period),
        query=reports.RangeQuery,
        answers={
            200: Answer(description="The busiest first.", body=TypesStatistics, example=examples.TYPES_STATISTICS)
        },
    ),
    Route(
        method="GET",
        path="/api/stats/servers",
        name="getFleetStatistics",
        tag=STATISTICS,
        summary="Counts and times of each server",
        roles=READERS,
        act=ask("statistics", "fleet", reports.period),
        query=reports.RangeQuery,
        answers={
            200: Answer(description="The busiest first.", body=FleetStatistics, example=examples.FLEET_STATISTICS)
        },
    ),
    Route(
        method="GET",
        path="/api/stats/servers/{id}",
        name="getServerStatistics",
        tag=STATISTICS,
        summary="Counts and times of one server",
        roles=READERS,
        act=ask("statistics", "servers", reports.period),
        id=Id.SERVER,
        query=reports.DateQuery,
        answers={200: Answer(description="The figures.", body=ServerStatistics, example=examples.SERVER_STATISTICS)},
    ),
    Route(
        method="GET",
        path="/api/stats/load-balancer",
        name="getLoadBalancer",
        tag=LOAD_BALANCER,
        summary="How load is spread now",
        roles=READERS,
        act=ask("statistics", "load-balancer", nothing),
        answers={
            200: Answer(description="The distribution.", body=LoadBalancerStatistics, example=examples.LOAD_BALANCER)
        },
    ),
    Route(
        method="POST",
        path="/api/stats/load-balancer/algorithm",
        name="setAlgorithm",
        tag=LOAD_BALANCER,
        summary="Choose the algorithm of a pool",
        roles=OPERATORS,
        act=ask("balancer", "algorithm", body),
        request=AlgorithmRequest,
        answers={200: Answer(description="Chosen.", body=AlgorithmAnswer, example=examples.ALGORITHM_ANSWER)},
        errors=(409,),
        example={"algorithm": "least-connections"},
    ),
)
