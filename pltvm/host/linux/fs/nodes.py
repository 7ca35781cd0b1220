"""Internal files, on no disk: /dev, /proc, and a little of /sys, as one tree of nodes.

    Folder   names, some of which come and go        Text     a file whose content is made when opened
    Link     points to a path                        Special  a device, opened by a function
    Opened   in /proc/PID/fd: points to an open file, whatever its path

The walk (`paths`) goes through them by name; a folder of the root with the same path is beneath, and shows
the names that the tree does not have.
"""

import stat
from collections import deque
from collections.abc import Callable
from errno import EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOTDIR, EPERM
from typing import Any, Final
from weakref import ref
from zlib import crc32

from pltvm.host.linux.errors import LinuxError
from pltvm.host.linux.files.file import File, Status
from pltvm.host.linux.files.host import LARGEST_OFFSET
from pltvm.host.linux.files.listing import Entry, Listing
from pltvm.host.linux.open_flags import O_ACCESS, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_TRUNC

DEVICES: Final = {b"proc": 4, b"sys": 3}  # st_dev, by the first name of the path
_FIRST_INODE: Final = 2 << 32
_LARGE: Final = 1 << 16  # bytes from which a text counts for the limit
MOST_TEXT: Final = 64 << 20  # bytes of all these texts


class Node:
    """An internal file at an absolute `path`."""

    mode = 0
    is_listed = True  # whether the root lists it, in addition to the disk's files

    def __init__(self, path: bytes) -> None:
        self.path = path

    def status(self) -> Status:
        """Return its attributes."""
        device = DEVICES.get(self.path.split(b"/")[1], 1)
        return Status(self.mode, inode=_FIRST_INODE + crc32(self.path), device=device)

    def entry(self, name: bytes) -> Entry:
        """Return its entry in a folder, with this name."""
        return Entry(name, self.status().inode, self.mode)

    def open(self, flags: int) -> File:
        """Open it, with flags that its kind allows; raises LinuxError."""
        return NodeFile(self, flags)


class Folder(Node):
    """A folder of `nodes` by name, and of nodes that `more` finds by name; `list_more` returns their
    names."""

    mode = stat.S_IFDIR | 0o555

    def __init__(
        self,
        path: bytes,
        more: Callable[[bytes], Node | None] = lambda _name: None,
        list_more: Callable[[], list[bytes]] = list,
    ) -> None:
        super().__init__(path)
        self.nodes: dict[bytes, Node] = {}
        self._more, self._list_more = more, list_more

    def child(self, name: bytes) -> Node | None:
        """Return the node with this name, or None."""
        return self.nodes.get(name) or self._more(name)

    def names(self) -> list[bytes]:
        """Return all names."""
        return [*self.nodes, *self._list_more()]

    def path_of(self, name: bytes) -> bytes:
        """Return the path of a name in it."""
        return self.path.rstrip(b"/") + b"/" + name

    def folder(self, name: bytes) -> "Folder":
        """Return the folder of this name; make it if there is none."""
        node = self.nodes.get(name)
        if not isinstance(node, Folder):
            self.nodes[name] = node = Folder(self.path_of(name))
        return node

    def add(self, node: Node) -> None:
        """Add a node here, by the last name of its path."""
        self.nodes[node.path.rsplit(b"/", 1)[-1]] = node

    def text(self, name: bytes, content: Callable[[], bytes]) -> None:
        """Add a text here."""
        self.add(Text(self.path_of(name), content))

    def link(self, name: bytes, target: Callable[[], bytes]) -> None:
        """Add a link here."""
        self.add(Link(self.path_of(name), target))

    def status(self) -> Status:
        return super().status()._replace(links=2)


class Link(Node):
    """A link to the path that `target` returns."""

    mode = stat.S_IFLNK | 0o777

    def __init__(self, path: bytes, target: Callable[[], bytes]) -> None:
        super().__init__(path)
        self.target = target

    def open(self, flags: int) -> File:
        raise LinuxError(ELOOP)  # it was not followed


class Opened(Node):
    """A link of /proc/PID/fd. Such links are followed to the open file itself."""

    mode = stat.S_IFLNK | 0o700

    def __init__(self, path: bytes, file: File, is_followed: bool = False) -> None:
        super().__init__(path)
        self.file = file
        self.is_followed = is_followed

    def target(self) -> bytes:
        """Return the text of the link."""
        return self.file.name()

    def followed(self) -> "Opened":
        """Return the node for the open file, at the end of a path."""
        return Opened(self.path, self.file, True)

    def status(self) -> Status:
        if self.is_followed:
            return self.file.status()
        return super().status()._replace(size=64)

    def open(self, flags: int) -> File:
        if not self.is_followed:
            raise LinuxError(ELOOP)
        return self.file.again(flags)


class Text(Node):
    """A file with the text that `content` returns when it is opened."""

    mode = stat.S_IFREG | 0o444

    def __init__(self, path: bytes, content: Callable[[], bytes]) -> None:
        super().__init__(path)
        self.content = content


class Special(Node):
    """A device, opened by a function of the flags."""

    def __init__(self, path: bytes, opener: Callable[[int], File]) -> None:
        super().__init__(path)
        self._opener = opener
        self._status: Status | None = None

    def status(self) -> Status:
        if self._status is None:
            self._status = self._opener(O_PATH).status()
        return self._status

    @property
    def mode(self) -> int:  # type: ignore[override]
        return self.status().mode

    def open(self, flags: int) -> File:
        return NodeFile(self, flags) if flags & O_PATH else self._opener(flags)


class NodeFile(File):
    """An open folder of nodes, or an open text; with O_PATH any node. `beneath` lists the folder of the root
    with the same path."""

    kind = "node"

    def __init__(
        self, node: Node, flags: int, beneath: Callable[[Node], list[Entry]] = lambda _node: []
    ) -> None:
        super().__init__(flags)
        self.node = node
        self.mode = node.mode
        self._beneath = beneath
        self.offset = 0
        self.content = b""
        self.is_kept = False  # whether the content is kept while it is open; else it is made for each read
        if isinstance(node, Folder):
            self.listing = Listing(lambda: self._look(node, beneath))
        elif isinstance(node, Text) and not flags & O_PATH:
            self.content = node.content()
            self.is_kept = True

    @staticmethod
    def _look(node: Folder, beneath: Callable[[Node], list[Entry]]) -> list[Entry]:
        found = {one.name: one for one in beneath(node)}
        for name in node.names():
            child = node.child(name)
            if child is not None:
                found[name] = child.entry(name)
        dots = [node.entry(b"."), Entry(b"..", node.status().inode, node.mode)]
        return dots + [found[name] for name in sorted(found)]

    def read(self, size: int) -> bytes:
        part = self.read_at(size, self.offset)
        self.offset += len(part)
        return part

    def read_at(self, size: int, offset: int) -> bytes:
        self.must_read()
        if self.listing is not None:
            raise LinuxError(EISDIR)
        return self._text()[offset : offset + max(size, 0)]

    def _text(self) -> bytes:
        if self.is_kept or not isinstance(self.node, Text):
            return self.content
        return self.node.content()

    def write(self, data: bytes) -> int:
        self.must_write()
        raise LinuxError(EPERM)

    def seek(self, offset: int, whence: int) -> int:
        self.must_read()
        if self.listing is not None:
            return self.listing.seek(offset, whence)
        offset += (0, self.offset, len(self._text()))[whence] if whence in (0, 1, 2) else -LARGEST_OFFSET
        if not 0 <= offset <= LARGEST_OFFSET:
            raise LinuxError(EINVAL)
        self.offset = offset
        return offset

    def status(self) -> Status:
        return self.node.status()

    def name(self) -> bytes:
        return self.node.path

    def again(self, flags: int) -> File:
        return open_node(self.node, flags, self._beneath)

    def save(self) -> Any:
        known = tuple(self.listing.known) if self.listing is not None else ()
        offset = self.listing.offset if self.listing is not None else self.offset
        return self.node.path, offset, self._text(), known

    def after_load(self, state: Any) -> None:
        _, offset, self.content, known = state
        self.is_kept = True
        if self.listing is not None:
            self.listing.offset, self.listing.known = offset, list(known)
        else:
            self.offset = offset


class Texts:
    """The contents of open texts: of large ones the latest are kept, up to MOST_TEXT bytes."""

    def __init__(self) -> None:
        self._kept: deque[ref[NodeFile]] = deque()

    def opened(self, file: File) -> None:
        """Add an open text; contents of older ones may be dropped and made again."""
        if not isinstance(file, NodeFile) or len(file.content) < _LARGE:
            return
        self._kept.append(ref(file))
        alive = [one for one in (each() for each in self._kept) if one is not None]
        size = sum(len(one.content) for one in alive)
        for one in alive[:-1]:
            if size <= MOST_TEXT:
                break
            size -= len(one.content)
            one.content, one.is_kept = b"", False
        self._kept = deque(ref(one) for one in alive if one.is_kept)


def open_node(node: Node, flags: int, beneath: Callable[[Node], list[Entry]] = lambda _node: []) -> File:
    """Open the node that a walk has found; raises LinuxError."""
    kind = stat.S_IFMT(node.status().mode)
    if flags & O_DIRECTORY and kind != stat.S_IFDIR:
        raise LinuxError(ENOTDIR)
    if flags & O_PATH and not isinstance(node, Opened):
        return NodeFile(node, flags, beneath)
    if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL:
        raise LinuxError(EEXIST)
    writes = flags & O_ACCESS
    if isinstance(node, Folder):
        if writes or flags & (O_CREAT | O_TRUNC):
            raise LinuxError(EISDIR)
        return NodeFile(node, flags, beneath)
    if isinstance(node, Text) and (writes or flags & O_TRUNC):
        raise LinuxError(EACCES)
    return node.open(flags)
