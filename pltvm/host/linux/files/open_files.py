"""All open files of the system by number, and how they are saved and made again."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pltvm.host.linux.files.file import File, SavedFile

Maker = Callable[[Any, int], File]  # makes a file again: its saved state, its flags


@dataclass(slots=True)
class OpenFilesState:
    """The files, and the number of the next one."""

    files: list[SavedFile] = field(default_factory=list)
    next_number: int = 1


class OpenFiles(Mapping[int, File]):
    """Open files by number. `makers` make saved files again, by kind; `on_close` is called for each file that
    is closed for good while the system runs."""

    def __init__(self) -> None:
        self._files: dict[int, File] = {}
        self._next = 1
        self.makers: dict[str, Maker] = {}
        self.at_close: list[Callable[[File], None]] = []  # called when a file has no users any more

    def __getitem__(self, number: int) -> File:
        return self._files[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def add(self, file: File) -> File:
        """Give a new file, without users yet, its number."""
        file.number = self._next
        self._next += 1
        self._files[file.number] = file
        return file

    def give_up(self, number: int) -> None:
        """Remove one user of a file; the last one closes it."""
        file = self._files.get(number)
        if file is None:
            return
        file.users -= 1
        if file.users <= 0:
            del self._files[number]
            for action in self.at_close:
                action(file)
            file.close()

    def close_all(self) -> None:
        """Close everything, at the end of the run."""
        files, self._files = self._files, {}
        for file in files.values():
            file.close()

    def save(self) -> OpenFilesState:
        """Return all files as plain data; raises SnapshotError for files that cannot be made again."""
        files = [
            SavedFile(number, file.kind, file.users, file.flags, file.save())
            for number, file in self._files.items()
        ]
        return OpenFilesState(files, self._next)

    def load(self, saved: OpenFilesState) -> None:
        """Close all open files, and restore the saved ones. Raises SnapshotError, and then changes
        nothing."""
        again: dict[int, File] = {}
        try:
            for one in saved.files:
                again[one.number] = self.makers[one.kind](one.state, one.flags)
        except BaseException:
            for file in again.values():
                file.close()
            raise
        self.close_all()  # no file has a number meanwhile, as numbers held by files may change their meaning
        self._files, self._next = again, saved.next_number
        for one in saved.files:
            file = again[one.number]
            file.number, file.users = one.number, one.users
        for one in saved.files:
            again[one.number].after_load(one.state)
