"""The cockpit as an app: it wires the feed to the model, the model to the visible screen, and keys to screens."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen

from pointsman.contracts.actor import Actor, Role
from pointsman.tui import themes
from pointsman.tui.acting import commands
from pointsman.tui.driver import TerminalDriver
from pointsman.tui.feed import MakeSource
from pointsman.tui.link import Link, Sign, State
from pointsman.tui.lookingback import REPLAY_BINDINGS, LookingBackApp
from pointsman.tui.model import Folded, Model
from pointsman.tui.options import Options, System
from pointsman.tui.pace import Pace
from pointsman.tui.playback import source_of
from pointsman.tui.replay import moment_of
from pointsman.tui.replaying import Replaying
from pointsman.tui.screens.base import CockpitScreen
from pointsman.tui.screens.catalogue import MAKERS
from pointsman.tui.screens.help import Entry, HelpScreen, entries_of
from pointsman.tui.showing import Look
from pointsman.tui.told import Connected, FrameCame, Lost, Opened, Refused, RoundTrip, Told
from pointsman.tui.topbar import SCREENS, Moment

if TYPE_CHECKING:
    from pointsman.client.client import Client

CLOCK_S = 1.0
LINK_CHECK_S = 0.25
PREMOUNT_AFTER_S, PREMOUNT_PATIENCE_S = 0.3, 3.0
PLAY_S = 0.2
EXIT_PATIENCE_S = 2.0
SIGNALLED = 128


class Cockpit(LookingBackApp):
    """`make_source`, `wall` (s since the epoch) and `clock` (s) are for tests, which bring frames and clocks of their own."""

    TITLE = "Pointsman"
    CSS_PATH = "cockpit.tcss"
    ENABLE_COMMAND_PALETTE = True
    DEFAULT_MODE = "overview"
    COMMAND_PALETTE_BINDING = "ctrl+p"
    COMMANDS = {commands}
    MODES = {**MAKERS}
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        *(
            Binding(str(place), f"app.go('{name}')", name.capitalize(), show=False, id=f"go.{name}")
            for place, name in enumerate(SCREENS, 1)
        ),
        Binding("escape,backspace", "app.back", "Back", show=False, id="app.back"),
        *REPLAY_BINDINGS,
        Binding("U", "app.toggle_zone", "UTC or local time", show=False, id="app.zone"),
        Binding("T", "app.next_theme", "Theme", show=False, id="app.theme"),
        Binding("question_mark", "app.show_help", "Help", key_display="?", id="app.help"),
        Binding("colon", "app.command_palette", "Find", key_display=":", id="app.find"),
        Binding("q", "app.quit", "Quit", id="app.quit"),
        Binding("ctrl+z", "app.suspend_process", "Suspend, `fg` comes back", show=False, id="app.suspend"),
        Binding("ctrl+c", "app.quit", "Quit", show=False, priority=True, system=True, id="app.interrupt"),
    ]

    def __init__(
        self,
        options: Options,
        make_source: MakeSource | None = None,
        wall: Callable[[], float] = time,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(ansi_color=True if options.no_color else None)
        self.options = options
        self.model = Model()
        self._clock = clock
        self.link = Link(since=clock())
        self.zone = options.zone
        self.draws = 0
        self._has_aged = False
        self._known = asyncio.Event()
        self._wall = wall
        self._pace = Pace(options.hz)
        self.source = (make_source or source_of(options.system, options.actor))(self.take)
        self.replaying = Replaying(self.model, lambda: self.source.bus, self.wake, wall, options.system.recording)
        for theme in themes.textual_themes():
            self.register_theme(theme)
        self.theme = options.theme
        self._take_look()

    def get_driver_class(self) -> type[Driver]:
        usual = super().get_driver_class()
        return TerminalDriver if usual is LinuxDriver else usual

    async def on_mount(self) -> None:
        self._on_signals()
        self.set_class(self.options.ascii_only, "-ascii")
        if self.options.keys:
            self.set_keymap(self.options.keys)
        await self.switch_mode(self.options.screen)
        self.call_after_refresh(self._follow)
        self.set_interval(CLOCK_S, self._tick)
        self.set_interval(LINK_CHECK_S, self._check_link)
        self.set_interval(PLAY_S, partial(self.replaying.tick, PLAY_S))
        self.run_worker(self._premount(), name="premount", exit_on_error=False)
        self.theme_changed_signal.subscribe(self, lambda _: self._take_look())
        self.app_resume_signal.subscribe(self, lambda _: self._draw_all_anew())

    def _follow(self) -> None:
        """Once something is on the screen: the bus takes a while to be imported."""
        self.run_worker(self.source.run(), name="feed", exit_on_error=False)

    @property
    def shown(self) -> Model:
        """What screens show: the cluster now, or the replayed moment."""
        return self.replaying.shown or self.model

    @property
    def moment(self) -> Moment:
        return Moment(
            context=self.options.system.name,
            is_read_only=self.options.system.read_only or self.replaying.place is not None,
            link=self.link,
            now=self._clock(),
            wall_ms=1000 * self._wall(),
            zone=self.zone,
            replay_at=None if self.replaying.place is None else self.replaying.place.at,
        )

    @property
    def context_color(self) -> str:
        if self.options.no_color:
            return "ansi_default"
        system = self.options.system
        return system.color or (themes.PROTECTED if system.protected else themes.CONTEXT)

    @property
    def client(self) -> "Client | None":
        """To ask and to act, while there is a connection."""
        bus = self.source.bus
        if bus is None:
            return None
        from pointsman.client.client import Client

        return Client(bus, Actor(sub=self.options.actor, roles=(Role.OPERATOR, Role.ADMIN)))

    @property
    def why_alone(self) -> str:
        """Why there is nobody to ask while there is no client."""
        return "not connected" if self.options.system.recording is None else "not in a recording"

    @property
    def why_read_only(self) -> str | None:
        """Why nothing can be changed from here just now; None when it can."""
        system = self.options.system
        if system.recording is not None:
            return "this is a recording: nothing can be changed in it"
        if system.read_only and system.protected:
            return f"context {system.name} is protected: it opens to `pointsman tui --no-read-only`"
        if system.read_only:
            return "this cockpit is read-only"
        if self.replaying.place is not None:
            return "this is the past: t goes back to now"
        if not self.link.is_trusted:
            return f"the link is {self.link.state}: what you see may not be so"
        return None

    def take(self, told: Told) -> None:
        """A fact from the feed. Folding is cheap and always done; drawing is asked for."""
        before, state = self.why_read_only, self.link.state
        now = self._clock()
        match told:
            case FrameCame(frame=frame):
                was_known = self.model.is_known
                folded = self.model.fold(frame)
                self.replaying.folded()
                if self.model.is_known and not was_known:
                    self._first_known()
                if self.model.wants_snapshot:
                    self.source.want_snapshot()
                if self.model.is_known:
                    self._take_frame_sign(now)
                if folded is Folded.AGED and self.link.state is state:
                    self._has_aged = True
                    return
            case Connected(where=where):
                self.link = self.link.after(Sign.CONNECTED, now).connected(where)
            case Opened():
                self.link = self.link.after(Sign.OPENED, now)
            case Lost(reason=reason, tries=tries, next_s=next_s):
                self.model.forget_place()
                self.link = self.link.after(Sign.LOST, now).trying(tries, now + next_s, reason)
            case Refused(what=what):
                self.link = self.link.after(Sign.REFUSED, now).denied(what)
            case RoundTrip(ms=ms):
                self.link = self.link.timed(ms)
                return
        self._after_link_change(before)
        self.wake()

    def _first_known(self) -> None:
        self._known.set()
        self.run_worker(self.replaying.fetch_history(), name="history", exit_on_error=False)
        recording = self.options.system.recording
        if self.options.at is not None or recording is not None:
            at = None if self.options.at is None else moment_of(self.options.at, self.replaying.now_ms, self.zone)
            self.replaying.enter(at)
        if recording is not None and recording.note:
            self.notify(recording.note, title="Not all of it", severity="warning", markup=False)

    def _take_frame_sign(self, now: float) -> None:
        was = self.link.state
        self.link = self.link.after(Sign.FRAME, now)
        if self.link.state is State.RECOVERED and was is not State.RECOVERED:
            gaps = self.model.gaps
            self.notify(
                f"back after {self.link.outage_s:.0f} s, {gaps} gap{'s' if gaps != 1 else ''} since the start",
                title="Connected again",
            )

    def _after_link_change(self, reason_before: str | None) -> None:
        if (self.why_read_only is None) != (reason_before is None) and self._running:
            self._take_look()
            self.screen.refresh_bindings()

    def wake(self) -> None:
        """Draw soon: at once if the last drawing is long enough ago, else once when it is."""
        if not self._running:
            return
        wait_s = self._pace.wait_s(self._clock())
        if wait_s == 0:
            self.call_later(self._draw)
        elif wait_s is not None:
            self.set_timer(wait_s, self._draw)

    def _draw(self) -> None:
        if not self._running:
            return
        self._pace.drawn(self._clock())
        self._has_aged = False
        self.draws += 1
        if screen := self.visible_screen:
            screen.draw_all()

    @property
    def visible_screen(self) -> CockpitScreen | None:
        """The topmost screen that shows the cluster; dialogs may lie over it."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, CockpitScreen)), None)

    def _tick(self) -> None:
        """The clock, and once a second what nothing but ages moved in."""
        if self._has_aged:
            self.wake()
        elif self._running and (screen := self.visible_screen):
            screen.draw_top()

    def _check_link(self) -> None:
        before = self.why_read_only
        aged = self.link.aged(self._clock())
        if aged.state is not self.link.state:
            self.link = aged
            self._after_link_change(before)
            self.wake()

    async def _premount(self) -> None:
        """The first showing of a screen costs some 300 ms: mount them one by one while nobody waits."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), PREMOUNT_PATIENCE_S)
        for name in self.MODES:
            await asyncio.sleep(PREMOUNT_AFTER_S)
            if not self._running:
                return
            if name not in self._screen_stacks:
                await self._init_mode(name)

    def _take_look(self) -> None:
        options = self.options
        self.look = Look(
            palette=themes.palette(self.theme, no_color=options.no_color),
            ascii_only=options.ascii_only,
            dimmed=self.model.is_known and not self.link.is_trusted,
        )
        if self._running:
            for widget in self.screen.query("Lines, LiveTable, Area, Heat"):
                forget = getattr(widget, "forget", widget.refresh)
                forget()

    def _on_signals(self) -> None:
        """A terminal is given back on every way out."""
        if self.is_headless or os.name != "posix":
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._leave, number)

    def _leave(self, number: int) -> None:
        """Where the terminal is gone the library waits for ever to write to it: then the process ends as it is."""
        self.exit()
        ending = threading.Timer(EXIT_PATIENCE_S, os._exit, (SIGNALLED + number,))
        ending.daemon = True
        ending.start()

    def action_suspend_process(self) -> None:
        if self._driver is not None and self._driver.can_suspend:
            super().action_suspend_process()
        else:
            self.tell("no shell waits behind this cockpit: q ends it", is_good=False)

    def _draw_all_anew(self) -> None:
        """The terminal comes back empty."""
        self._take_look()
        self.refresh(layout=True)

    async def action_go(self, name: str) -> None:
        while isinstance(self.screen_stack[-1], Screen) and len(self.screen_stack) > 1:
            await self.pop_screen()
        await self.switch_mode(name)

    def go_to(self, system: System) -> None:
        """Show another system: this cockpit ends, with all it knows and does, and a new one begins there."""
        if system.refusal:
            self.tell(f"{system.name}: {system.refusal}", is_good=False)
            return
        options = self.options
        self.leave(options.elsewhere(system, screen=self.current_mode, theme=self.theme, zone=self.zone))

    async def open_object(self, screen: str, subject: str) -> None:
        """Show a server, pool or task that something else named."""
        await self.action_go(screen if screen in self.MODES else "overview")
        shown = self.visible_screen
        if shown is not None:
            shown.point_at(subject)

    async def action_back(self) -> None:
        if isinstance(self.screen, CockpitScreen) and self.screen.go_back():
            return
        if len(self.screen_stack) > 1:
            await self.pop_screen()
            self.wake()

    def action_toggle_zone(self) -> None:
        self.zone = None if self.zone is UTC else UTC
        self.wake()

    def action_next_theme(self) -> None:
        names = [colours.name for colours in themes.ALL]
        place = names.index(self.theme) + 1 if self.theme in names else 0
        self.theme = names[place % len(names)]

    def action_show_help(self) -> None:
        screen = self.visible_screen
        if screen is None or self.screen is not screen:
            return
        entries = entries_of(screen)

        async def run(entry: Entry | None) -> None:
            if entry is not None:
                await self.run_action(entry.action, entry.node)

        self.push_screen(HelpScreen(entries, SCREENS[screen.NAME]), run)
