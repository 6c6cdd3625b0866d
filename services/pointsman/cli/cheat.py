"""`pointsman cheat`: the commands that one needs, by topic."""

import click

from pointsman.cli.impact import Reads

TOPICS = {
    "look": """\
pointsman server ls                              servers, by id; -o wide shows more
pointsman server watch                           the same, repainted
pointsman balancer get                           who leads, what waits, what is wrong
pointsman stats day                              how many tasks, how they ended
pointsman events                                 what happens, as it happens
pointsman tui                                    all of it on one screen
pointsman record incident.rec --since 20m        what it showed, as a file for a ticket
pointsman tui --replay incident.rec --at 14:31   looked at again, anywhere""",
    "task": """\
pointsman task submit resize --payload '{"width":200}' --wait
pointsman task get ID                            where it is, and its attempts
pointsman task explain ID                        why it is not running
pointsman task result ID --wait                  the result alone
pointsman task wait ID --for state=completed --timeout 60s
pointsman task ls state:failed since:1h          the filter language: README, Searching
pointsman task tail type:resize state:failed     follow those alone
pointsman task cancel --matching 'type:resize' --dry-run
pointsman task retry --matching 'state:failed since:1h' --yes""",
    "many": """\
pointsman task submit -f tasks.jsonl             one request a line: {"type":"resize","payload":{}}
pointsman task submit -f tasks.jsonl --resume p  after an interruption, the same command goes on
producer | pointsman task submit -f -
pointsman task submit -f tasks.jsonl --dry-run   check every line, send nothing""",
    "server": """\
pointsman server register gpu-1 --at http://10.0.0.5:9000 --max-concurrent 4
pointsman server drain gpu-1                     nothing new; what runs finishes
pointsman server drain --group rack-7 --dry-run  the plan: what runs, slots before and after
pointsman server maintenance gpu-1               out at once; what runs goes elsewhere
pointsman server activate gpu-1                  back
pointsman server remove gpu-1                    away""",
    "steer": """\
pointsman balancer switch p2c --dry-run          what would change
pointsman balancer switch p2c                    a wrong name lists the right ones
pointsman balancer undo                          back
pointsman limit set type resize --max-concurrent 20 --rate 5 --burst 10
pointsman limit set pool default --max-concurrent 0   stop the line; limit clear opens it
pointsman pool set default --share team-a=3 --max-backlog 50000""",
    "script": """\
pointsman server ls -o name | xargs -n1 pointsman server get
pointsman server ls -o json | jq '.servers[] | select(.health.score < 50) | .id'
pointsman task ls -o csv --columns id,status,error > tasks.csv
pointsman server drain gpu-1 --yes --reason 'new disk'   --yes: asks nothing
pointsman check cluster --format nagios          0 ok, 1 warning, 2 critical, 3 unknown
exit codes  0 done  1 it failed  2 usage  3 not found  4 conflict  5 not allowed  6 wait timed out
            69 nobody answered  130 interrupted  141 nobody reads""",
    "context": """\
pointsman context add dev --data-dir ./data --select
pointsman context add prod --nats-url tls://nats.example:4222 --nats-creds ~/prod.creds --protected --color red
pointsman context add edge --url https://pointsman.example --token command:'pass show pointsman'
pointsman context select prod                    back: context previous
pointsman --context prod server ls
pointsman context get --origin                   what is in force, and who said so
pointsman --no-read-only server drain gpu-1      a protected context asks for it""",
}


@click.command(cls=Reads)
@click.argument("topic", required=False, type=click.Choice(tuple(TOPICS)))
def cheat(topic: str | None) -> None:
    """The commands that one needs: all, or those of a TOPIC."""
    shown = (topic,) if topic else tuple(TOPICS)
    click.echo("\n\n".join(f"# {name}\n{TOPICS[name]}" for name in shown))
