# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled module: the few loops that run for every byte. `_speed_py.py` is its equal in Python and its documentation.

Every offset is checked against the buffer before it is read: what stands here runs on bytes from the network.
"""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE, _PyBytes_Resize,
)
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc, strtod
from libc.string cimport memchr, memcmp, memcpy

from zlib import crc32


def complete_messages(const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t cap):
    """How far whole PostgreSQL messages (type byte, 4-byte length that counts itself) reach from `start`.

    Returns the offset behind the last whole message. Raises ValueError on a length below 4 or above `cap`.
    """
    cdef Py_ssize_t offset = start, total = buffer.shape[0], length
    while total - offset >= 5:
        length = (<unsigned int>buffer[offset + 1] << 24) | (<unsigned int>buffer[offset + 2] << 16) \
            | (<unsigned int>buffer[offset + 3] << 8) | <unsigned int>buffer[offset + 4]
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        offset += length + 1
    return offset


def message_runs(const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t cap):
    """The whole PostgreSQL messages from `start`, neighbours of one type as one item: (type, start, end, count).

    The last item's end is the offset behind the last whole message (none whole: an empty list). Raises ValueError on a
    length below 4 or above `cap`.
    """
    cdef Py_ssize_t offset = start, total = buffer.shape[0], length, begin = start, count = 0
    cdef int kind = -1
    cdef list runs = []
    while total - offset >= 5:
        length = (<unsigned int>buffer[offset + 1] << 24) | (<unsigned int>buffer[offset + 2] << 16) \
            | (<unsigned int>buffer[offset + 3] << 8) | <unsigned int>buffer[offset + 4]
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        if buffer[offset] != kind:
            if count:
                runs.append((kind, begin, offset, count))
            kind = buffer[offset]
            begin = offset
            count = 0
        count += 1
        offset += length + 1
    if count:
        runs.append((kind, begin, offset, count))
    return runs


# --- growing buffers --------------------------------------------------------------------------------------------------


cdef struct Output:
    unsigned char* data
    Py_ssize_t size
    Py_ssize_t room
    PyObject* bytes  # where `data` is that of a bytes object, which the caller began and finishes; else NULL


cdef struct Places:  # where each byte of a view stands in its cell; data is NULL while nobody asks
    int32_t* data
    Py_ssize_t size
    Py_ssize_t room
    bint wanted


cdef inline int reserve(Output* out, Py_ssize_t more) except -1:
    return grow(out, more) if out.size + more > out.room else 0


cdef int grow(Output* out, Py_ssize_t more) except -1:
    cdef Py_ssize_t room = (out.size + more) * 3 // 2 + 256
    cdef unsigned char* data
    if out.bytes != NULL:
        _PyBytes_Resize(&out.bytes, room)
        data = <unsigned char*>PyBytes_AS_STRING(<object>out.bytes)
    else:
        data = <unsigned char*>realloc(out.data, room)
        if data == NULL:
            raise MemoryError()
    out.data = data
    out.room = room
    return 0


cdef int begin_bytes(Output* out, Py_ssize_t room) except -1:
    """Whatever is put out from now on will be a bytes object: no copy in the end."""
    cdef bytes target = PyBytes_FromStringAndSize(NULL, room)
    Py_INCREF(target)
    out.bytes = <PyObject*>target
    out.data = <unsigned char*>PyBytes_AS_STRING(target)
    out.room = room
    out.size = 0
    return 0


cdef bytes finish_bytes(Output* out):
    cdef bytes result
    _PyBytes_Resize(&out.bytes, out.size)
    result = <bytes>out.bytes
    drop_bytes(out)
    return result


cdef inline void drop_bytes(Output* out) noexcept:
    """The caller's reference; NULL where an allocation failed, or there is none."""
    Py_XDECREF(out.bytes)
    out.bytes = NULL


cdef int place(Places* places, Py_ssize_t at) except -1:
    cdef Py_ssize_t room
    cdef int32_t* data
    if places.size == places.room:
        room = places.room * 2 + 256
        data = <int32_t*>realloc(places.data, room * sizeof(int32_t))
        if data == NULL:
            raise MemoryError()
        places.data = data
        places.room = room
    places.data[places.size] = <int32_t>at
    places.size += 1
    return 0


cdef inline int put(Output* out, Places* places, unsigned char byte, Py_ssize_t at) except -1:
    """The caller has reserved room in `out`."""
    out.data[out.size] = byte
    out.size += 1
    if places.wanted:
        place(places, at)
    return 0


# --- views of a cell --------------------------------------------------------------------------------------------------

SKIP = 0
TEXT = 1
JSON = 2
JSONB = 3
BYTEA = 4
OPAQUE = 5
INT8 = 6
NUMERIC = 7
FLOAT8 = 8
FLOAT_TEXT = 9
ARRAY = 16

cdef enum:
    K_SKIP = 0
    K_TEXT = 1
    K_JSON = 2
    K_JSONB = 3
    K_BYTEA = 4
    K_OPAQUE = 5
    K_INT8 = 6
    K_NUMERIC = 7
    K_FLOAT8 = 8
    K_FLOAT_TEXT = 9
    K_ARRAY = 16
    MOST_DIGIT_GROUPS = 7


cdef inline int32_t big32(const unsigned char* data) noexcept nogil:
    return <int32_t>((<unsigned int>data[0] << 24) | (<unsigned int>data[1] << 16) \
        | (<unsigned int>data[2] << 8) | <unsigned int>data[3])


cdef inline int big16(const unsigned char* data) noexcept nogil:
    return (data[0] << 8) | data[1]


cdef inline int hex_digit(unsigned char c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    if 65 <= c <= 70:
        return c - 55
    return -1


cdef bint is_ascii(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef uint64_t word, seen = 0
    while at + 8 <= size:
        memcpy(&word, data + at, 8)
        seen |= word
        at += 8
    if seen & <uint64_t>0x8080808080808080:
        return False
    while at < size:
        if data[at] >= 0x80:
            return False
        at += 1
    return True


cdef int folded(const unsigned char* cell, Py_ssize_t left, int* value) noexcept nogil:
    """Length of the UTF-8 sequence that reads as `value` (-1: nothing); 0 where it stands for itself."""
    cdef int b = cell[0], c = 0, d = 0
    if left > 1:
        c = cell[1]
    if b == 0xC2:
        if c == 0xA0:
            value[0] = 0x20
            return 2
        if c == 0xAD:
            value[0] = -1
            return 2
    elif b == 0xCD and c == 0x8F:
        value[0] = -1
        return 2
    elif b == 0xD9 and 0xA0 <= c <= 0xA9:
        value[0] = c - 0xA0 + 48
        return 2
    elif b == 0xDB and 0xB0 <= c <= 0xB9:
        value[0] = c - 0xB0 + 48
        return 2
    if left < 3:
        return 0
    d = cell[2]
    if b == 0xE2:
        if c == 0x80:
            if 0x80 <= d <= 0x8A or d == 0xAF:
                value[0] = 0x20
                return 3
            if 0x8B <= d <= 0x8F or 0xAA <= d <= 0xAE:
                value[0] = -1
                return 3
            if 0x90 <= d <= 0x95:
                value[0] = 0x2D
                return 3
        elif c == 0x81:
            if d == 0x9F:
                value[0] = 0x20
                return 3
            if 0xA0 <= d <= 0xAF:
                value[0] = -1
                return 3
        elif c == 0x88 and d == 0x92:
            value[0] = 0x2D
            return 3
    elif b == 0xE1 and c == 0xA0 and d == 0x8E:
        value[0] = -1
        return 3
    elif b == 0xE3 and c == 0x80 and d == 0x80:
        value[0] = 0x20
        return 3
    elif b == 0xEF:
        if c == 0xBB and d == 0xBF:
            value[0] = -1
            return 3
        if c == 0xBC and 0x81 <= d <= 0xBF:
            value[0] = d - 0x81 + 0x21
            return 3
        if c == 0xBD and 0x80 <= d <= 0x9E:
            value[0] = d - 0x80 + 0x60
            return 3
        if c == 0xB8 and 0x80 <= d <= 0x8F:
            value[0] = -1
            return 3
        if c == 0xB9 and d == 0xA3:
            value[0] = 0x2D
            return 3
        if c == 0xB9 and d == 0xAB:
            value[0] = 0x40
            return 3
    elif b == 0xF0 and left > 3 and c == 0x9D and d == 0x9F and 0x8E <= cell[3] <= 0xBF:
        value[0] = (cell[3] - 0x8E) % 10 + 48
        return 4
    return 0


cdef int code_point(const unsigned char* cell, Py_ssize_t left) noexcept nogil:
    cdef int value = 0, digit, index
    if left < 4:
        return -1
    for index in range(4):
        digit = hex_digit(cell[index])
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value


cdef int put_code(Output* out, Places* places, int code, Py_ssize_t at) except -1:
    cdef unsigned char sequence[3]
    cdef int length, value = 0, index
    if code < 0x80:
        return put(out, places, code if code else 0x20, at)
    if 0xD800 <= code <= 0xDFFF:
        return put(out, places, 0x3F, at)
    if code < 0x800:
        sequence[0] = 0xC0 | (code >> 6)
        sequence[1] = 0x80 | (code & 0x3F)
        length = 2
    else:
        sequence[0] = 0xE0 | (code >> 12)
        sequence[1] = 0x80 | ((code >> 6) & 0x3F)
        sequence[2] = 0x80 | (code & 0x3F)
        length = 3
    if folded(sequence, length, &value):
        if value >= 0:
            put(out, places, value, at)
        return 0
    for index in range(length):
        put(out, places, sequence[index], at)
    return 0


cdef int fold(Output* out, Places* places, const unsigned char* cell, Py_ssize_t total, bint escapes,
              Py_ssize_t start) except -1:
    """Appends the view without its end; `start` is added to the places."""
    cdef Py_ssize_t at = 0, end
    cdef int length, value = 0, code
    cdef unsigned char byte, follower
    reserve(out, total + 8)
    while at < total:
        byte = cell[at]
        if byte == 0x5C and escapes:
            end = at
            while end < total and cell[end] == 0x5C:
                end += 1
            follower = cell[end] if end < total else 0
            code = code_point(cell + end + 1, total - end - 1) if follower == 0x75 else -1
            if code >= 0:
                put_code(out, places, code, at + start)
                at = end + 5
            elif follower == 110 or follower == 116 or follower == 114 or follower == 98 or follower == 102 \
                    or follower == 118:
                put(out, places, 0x20, at + start)
                at = end + 1
            elif follower == 0x22 or follower == 0x2F or follower == 0x27:
                put(out, places, follower, at + start)
                at = end + 1
            else:
                put(out, places, 0x5C, at + start)
                at = end
            continue
        length = 0
        if byte >= 0x80:
            length = folded(cell + at, total - at, &value)
        if length:
            if value >= 0:
                put(out, places, value, at + start)
            at += length
        else:
            put(out, places, byte, at + start)
            at += 1
    if places.wanted:
        place(places, total + start)
    return 0


cdef int hex_runs(Output* out, Places* places, const unsigned char* cell, Py_ssize_t total) except -1:
    cdef Py_ssize_t at = 0
    cdef int high, low
    reserve(out, total + 8)
    while at + 1 < total:
        if cell[at] != 0x5C or cell[at + 1] != 0x78:
            at += 1
            continue
        at += 2
        while at + 1 < total:
            high = hex_digit(cell[at])
            low = hex_digit(cell[at + 1])
            if high < 0 or low < 0:
                break
            put(out, places, high * 16 + low, at)
            at += 2
        put(out, places, 0x0A, at)
    if places.wanted:
        place(places, total)
    return 0


cdef int put_integer(Output* out, int64_t value) except -1:
    cdef bytes text = b"%d" % value
    reserve(out, 32)
    memcpy(out.data + out.size, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    out.size += PyBytes_GET_SIZE(text)
    return 0


cdef int put_integral(Output* out, double value) except -1:
    if -1e18 < value < 1e18 and value == <double><int64_t>value:
        put_integer(out, <int64_t>value)
    return 0


cdef int put_numeric(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef int groups, weight, sign, index, group, divisor, digit
    cdef bint leading = True
    if size < 8:
        raise ValueError("numeric cell")
    groups = big16(cell)
    weight = big16(cell + 2)
    sign = big16(cell + 4)
    if groups > 32767 or size != 8 + 2 * groups:
        raise ValueError("numeric cell")
    if (sign != 0 and sign != 0x4000) or weight >= MOST_DIGIT_GROUPS:
        return 0
    reserve(out, 4 * MOST_DIGIT_GROUPS + 8)
    for index in range(weight + 1):
        group = big16(cell + 8 + 2 * index) if index < groups else 0
        if group > 9999:
            raise ValueError("numeric cell")
        divisor = 1000
        while divisor:
            digit = group // divisor % 10
            if digit or not leading:
                leading = False
                out.data[out.size] = 48 + digit
                out.size += 1
            divisor //= 10
    return 0


cdef int put_float_text(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef char text[41]
    cdef char* end
    cdef Py_ssize_t index
    cdef double value
    cdef unsigned char c
    if size > 40 or size == 0:
        return 0
    for index in range(size):
        c = cell[index]
        if not (48 <= c <= 57 or c == 43 or c == 45 or c == 46 or c == 69 or c == 101):
            return 0
    memcpy(text, cell, size)
    text[size] = 0
    value = strtod(text, &end)
    if end == text + size:
        put_integral(out, value)
    return 0


cdef int put_float8(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef uint64_t bits
    cdef double value
    if size != 8:
        raise ValueError("float8 cell")
    bits = (<uint64_t><unsigned int>big32(cell) << 32) | <uint64_t><unsigned int>big32(cell + 4)
    memcpy(&value, &bits, 8)
    return put_integral(out, value)


cdef int end_view(Output* out, Places* places, Py_ssize_t begin, list found, bint placed) except -1:
    """Ends a view by NUL or, where `found` is a list, moves it there."""
    if found is None:
        reserve(out, 1)
        out.data[out.size] = 0
        out.size += 1
        return 0
    view = PyBytes_FromStringAndSize(<char*>out.data + begin, out.size - begin) if out.size > begin else b""
    if placed:
        found.append((view, memoryview(PyBytes_FromStringAndSize(
            <char*>places.data, places.size * sizeof(int32_t))).cast("i")))
    else:
        found.append((view, None))
    out.size = begin
    places.size = 0
    return 0


cdef int put_views(Output* out, Places* places, const unsigned char* cell, Py_ssize_t size, int kind,
                   list found) except -1:
    """Appends all views of a cell, each ended by NUL; or, where `found` is a list, adds them to it."""
    cdef Py_ssize_t at, length, begin = out.size, start = 0
    cdef int dimensions
    cdef bint escaped
    if kind >= K_ARRAY:
        if size < 12:
            raise ValueError("array cell")
        dimensions = big32(cell)
        if not 0 <= dimensions <= 6:
            raise ValueError("array cell")
        at = 12 + 8 * dimensions
        if at > size:
            raise ValueError("array cell")
        while at < size:
            if size - at < 4:
                raise ValueError("array cell")
            length = big32(cell + at)
            at += 4
            if length < -1 or length > size - at:
                raise ValueError("array cell")
            if length >= 0:
                put_views(out, places, cell + at, length, kind - K_ARRAY, found)
                at += length
        return 0
    if kind >= K_INT8:
        if kind == K_INT8:
            if size != 8:
                raise ValueError("int8 cell")
            put_integer(out, <int64_t>((<uint64_t><unsigned int>big32(cell) << 32)
                                       | <uint64_t><unsigned int>big32(cell + 4)))
        elif kind == K_NUMERIC:
            put_numeric(out, cell, size)
        elif kind == K_FLOAT8:
            put_float8(out, cell, size)
        elif kind == K_FLOAT_TEXT:
            put_float_text(out, cell, size)
        else:
            raise ValueError("kind of cell")
        return end_view(out, places, begin, found, False)
    if kind == K_JSONB:
        if size < 1 or cell[0] != 1:
            raise ValueError("jsonb cell")
        kind = K_JSON
        cell += 1
        size -= 1
        start = 1
    if kind == K_BYTEA and size >= 2 and cell[0] == 0x5C and cell[1] == 0x78:
        hex_runs(out, places, cell, size)
        return end_view(out, places, begin, found, True)
    escaped = size > 0 and memchr(cell, 0x5C, size) != NULL
    if kind != K_JSON or not escaped:
        if (not start or not places.wanted) and is_ascii(cell, size):
            reserve(out, size + 1)
            if size:
                memcpy(out.data + out.size, cell, size)
            out.size += size
            end_view(out, places, begin, found, False)
        else:
            fold(out, places, cell, size, False, start)
            end_view(out, places, begin, found, True)
    if escaped:
        begin = out.size
        fold(out, places, cell, size, True, start)
        end_view(out, places, begin, found, True)
        if kind == K_OPAQUE and has_hex(cell, size):
            begin = out.size
            hex_runs(out, places, cell, size)
            end_view(out, places, begin, found, True)
    return 0


cdef bint has_hex(const unsigned char* cell, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at
    for at in range(size - 1):
        if cell[at] == 0x5C and cell[at + 1] == 0x78:
            return True
    return False


def views(bytes cell, int kind):
    cdef Output out
    cdef Places places
    cdef list found = []
    out.data = NULL
    out.bytes = NULL
    out.size = out.room = 0
    places.data = NULL
    places.size = places.room = 0
    places.wanted = True
    try:
        put_views(&out, &places, <const unsigned char*>PyBytes_AS_STRING(cell), PyBytes_GET_SIZE(cell), kind, found)
    finally:
        free(out.data)
        free(places.data)
    return found


# --- the sieve --------------------------------------------------------------------------------------------------------
#
# Eight bytes at a time in a word, then 64 in masks of one bit a byte. All shapes are shorter than 16 bytes, so blocks of
# 64 that overlap by 16 see each as a whole, with the byte before it.

CARD = 1
SSN = 2
IBAN = 4
EVERYTHING = 8

cdef enum:
    S_CARD = 1
    S_SSN = 2
    S_IBAN = 4
    S_EVERYTHING = 8
    SHORTEST_NUMBER = 11
    BLOCK = 64
    STEP = 48
    MOST_BEGINNINGS = 8
    LUHN_MOST = 19

cdef enum:  # what a view is
    CLEAN = 0
    CANDIDATE = 1
    FOLDED = 2  # not ASCII, or with a backslash in it: what is to be searched is another view

cdef uint64_t ONES = 0x0101010101010101
cdef uint64_t HIGH = 0x8080808080808080
cdef uint64_t LOW = 0x7F7F7F7F7F7F7F7F


cdef inline uint64_t word_at(const unsigned char* data) noexcept nogil:
    """Little-endian on every machine; compilers make one load of it."""
    return <uint64_t>data[0] | <uint64_t>data[1] << 8 | <uint64_t>data[2] << 16 | <uint64_t>data[3] << 24 \
        | <uint64_t>data[4] << 32 | <uint64_t>data[5] << 40 | <uint64_t>data[6] << 48 | <uint64_t>data[7] << 56


cdef inline uint64_t some_at(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    """Fewer than eight bytes, NUL behind them."""
    cdef uint64_t word = 0
    cdef Py_ssize_t index
    for index in range(size):
        word |= <uint64_t>data[index] << (8 * index)
    return word


cdef inline uint64_t equal(uint64_t low, uint64_t repeated) noexcept nogil:
    """The high bit of each byte that is this one; `low`: without high bits."""
    return ~((low ^ repeated) + LOW) & HIGH


cdef inline uint64_t bits(uint64_t high) noexcept nogil:
    """One bit a byte, from the high bits."""
    return ((high >> 7) * <uint64_t>0x0102040810204080) >> 56


cdef inline bint is_digit(unsigned char c) noexcept nogil:
    return 48 <= c <= 57


cdef inline bint is_joint(unsigned char c) noexcept nogil:
    return c == 0x20 or c == 0x2D


cdef inline bint is_word(unsigned char c) noexcept nogil:
    return 48 <= c <= 57 or 97 <= (c | 0x20) <= 122


cdef inline int bit_count(uint64_t mask) noexcept nogil:
    cdef int count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


cdef inline Py_ssize_t lowest(uint64_t mask) noexcept nogil:
    """The number of the lowest bit that is set."""
    cdef Py_ssize_t at = 0
    while not mask & 1:
        mask >>= 1
        at += 1
    return at


cdef bint card_at(const unsigned char* view, Py_ssize_t size, Py_ssize_t start) noexcept nogil:
    """`start` is a digit. Twelve digits with at most three joints between two; if they stand together, no more than 19
    and with the right check digit."""
    cdef Py_ssize_t at = start, index
    cdef int digits, joints, value, total
    if view[start] < 50 or view[start] > 54 or (start and is_digit(view[start - 1])):
        return False
    while at < size and is_digit(view[at]):
        at += 1
        if at - start > LUHN_MOST:
            return True
    digits = <int>(at - start)
    joints = 0
    index = at
    while index < size:
        if is_digit(view[index]):
            if digits >= 12:
                return True
            joints = 0
            digits += 1
        elif is_joint(view[index]) and joints < 3:
            joints += 1
        else:
            break
        index += 1
    if digits < 12:
        return False
    if digits > at - start:
        return True
    total = 0
    for index in range(at - start):
        value = view[at - 1 - index] - 48
        if index & 1:
            value = value * 2 if value < 5 else value * 2 - 9
        total += value
    return total % 10 == 0


cdef class Sieve:
    """Which views may hold something that is looked for: never false where one does."""

    cdef int numbers
    cdef bint many_marks
    cdef uint64_t mark
    cdef unsigned char marks[256]
    cdef unsigned char lengths[676]  # of IBANs, by country

    def __init__(self, int numbers, bytes marks not None, dict iban_lengths not None):
        cdef int index
        cdef Py_ssize_t count = PyBytes_GET_SIZE(marks), at
        cdef const unsigned char* mark = <const unsigned char*>PyBytes_AS_STRING(marks)
        self.numbers = numbers
        for index in range(256):
            self.marks[index] = 0
        for index in range(676):
            self.lengths[index] = 0
        for at in range(count):
            self.marks[mark[at]] = 1
        self.many_marks = count > 1 or (count == 1 and not 0 < mark[0] < 0x80)
        self.mark = mark[0] * ONES if count and not self.many_marks else 0
        for country, length in iban_lengths.items():
            index = (ord(country[0]) - 65) * 26 + ord(country[1]) - 65
            if not 0 <= index < 676:
                raise ValueError("country")
            self.lengths[index] = length

    def passes(self, bytes view not None):
        return self.look(<const unsigned char*>PyBytes_AS_STRING(view), PyBytes_GET_SIZE(view), False) == CANDIDATE

    cdef int look(self, const unsigned char* view, Py_ssize_t size, bint as_it_stands) noexcept nogil:
        """`as_it_stands`: the view is a cell that only reads so while it is ASCII without a backslash."""
        cdef Py_ssize_t base = 0, at, width, index
        cdef uint64_t word, low, digits, joints, letters, both, found, high = 0, marked = 0, place
        cdef bint small = size < SHORTEST_NUMBER
        cdef int beginnings = 0, countries = 0
        if self.numbers & S_EVERYTHING:
            return CANDIDATE
        if self.many_marks:
            for at in range(size):
                marked |= self.marks[view[at]]
            if marked:
                return CANDIDATE
        while True:
            width = size - base if size - base < BLOCK else BLOCK
            digits = joints = letters = 0
            at = 0
            while at < width:
                word = word_at(view + base + at) if width - at >= 8 else some_at(view + base + at, width - at)
                low = word & LOW
                high |= word & HIGH
                if as_it_stands:
                    high |= equal(low, ONES * 0x5C)
                if self.mark:
                    marked |= equal(low, self.mark) & ~word
                if not small:
                    digits |= bits((low + ONES * 0x50) & ~(low + ONES * 0x46) & ~word & HIGH) << at
                    joints |= bits((equal(low, ONES * 0x20) | equal(low, ONES * 0x2D)) & ~word) << at
                    low |= ONES * 0x20
                    letters |= bits((low + ONES * 0x1F) & ~(low + ONES * 0x05) & ~word & HIGH) << at
                at += 8
            if marked:
                return CANDIDATE
            if high and as_it_stands:
                return FOLDED
            if digits:
                found = self.beginnings(view, size, base, digits, joints, letters, &beginnings, &countries)
                if found:
                    return CANDIDATE
            if base + BLOCK >= size:
                return CLEAN
            base += STEP

    cdef bint beginnings(self, const unsigned char* view, Py_ssize_t size, Py_ssize_t base, uint64_t digits,
                         uint64_t joints, uint64_t letters, int* cards, int* countries) noexcept nogil:
        """Whether a number that is looked for begins in the part of this block that is its own."""
        cdef uint64_t found, own = ~<uint64_t>0, run
        cdef Py_ssize_t at
        # A shape that begins at the first byte of a later block, or among its last ones, is whole in its neighbour.
        if base:
            own &= ~<uint64_t>1
        if base + BLOCK < size:
            own &= (<uint64_t>1 << (STEP + 1)) - 1
        if self.numbers & S_CARD:
            run = joints & joints >> 1
            run = (digits | joints) & ~(run & run >> 2)
            run &= run >> 1
            run &= run >> 2
            found = run & run >> 4 & run >> 8 & digits & own
            if found:
                cards[0] += bit_count(found)
                if cards[0] > MOST_BEGINNINGS:
                    return True
                while found:
                    at = lowest(found)
                    found &= found - 1
                    if card_at(view, size, base + at):
                        return True
        if self.numbers & S_SSN:
            run = digits & digits >> 1
            found = run & digits >> 2 & joints >> 3 & run >> 4 & joints >> 6 & run >> 7 & run >> 9 & own
            while found:
                at = lowest(found)
                found &= found - 1
                if view[base + at] <= 56:
                    return True
        if self.numbers & S_IBAN:
            found = letters & letters >> 1 & digits >> 2 & digits >> 3 & ~((letters | digits) << 1) & own
            if found:
                countries[0] += bit_count(found)
                if countries[0] > MOST_BEGINNINGS:
                    return True
                while found:
                    at = lowest(found)
                    found &= found - 1
                    if self.iban_at(view, size, base + at):
                        return True
        return False

    cdef bint iban_at(self, const unsigned char* view, Py_ssize_t size, Py_ssize_t start) noexcept nogil:
        """As long as the country's are, single joints aside, and not the beginning of something longer."""
        cdef Py_ssize_t at = start
        cdef int left = self.lengths[((view[start] | 0x20) - 97) * 26 + (view[start + 1] | 0x20) - 97]
        if not left:
            return False
        while left and at < size:
            if not is_word(view[at]):
                if not is_joint(view[at]) or at + 1 >= size or not is_word(view[at + 1]):
                    return False
                at += 1
            at += 1
            left -= 1
        return not left and not (at < size and is_word(view[at]))


def in_strings(const unsigned char[::1] document, list offsets):
    cdef list found = []
    cdef bint inside = False
    cdef Py_ssize_t at = 0, total = document.shape[0], target
    for target in offsets:
        while at < target and at < total:
            if inside and document[at] == 0x5C:
                at += 2
                continue
            if document[at] == 0x22:
                inside = not inside
            at += 1
        found.append(inside and (at > target or at >= total or document[at] != 0x22))
    return found


# --- DataRows ---------------------------------------------------------------------------------------------------------


cdef inline Py_ssize_t row_end(const unsigned char* data, Py_ssize_t at, Py_ssize_t total, int columns) except -1:
    """The end of the DataRow at `at`, whose head is checked."""
    cdef Py_ssize_t length
    if total - at < 7 or data[at] != 0x44:
        raise ValueError("no whole DataRow")
    length = <Py_ssize_t><unsigned int>big32(data + at + 1)
    if length < 6 or length > total - at - 1:
        raise ValueError("DataRow length")
    if big16(data + at + 5) != columns:
        raise ValueError("DataRow column count")
    return at + 1 + length


cdef inline Py_ssize_t cell_size(const unsigned char* data, Py_ssize_t at, Py_ssize_t end) except -2:
    cdef Py_ssize_t size
    if end - at < 4:
        raise ValueError("DataRow cell length")
    size = big32(data + at)
    if size < -1 or size > end - at - 4:
        raise ValueError("DataRow cell length")
    return size


def count_rows(const unsigned char[::1] frames, int columns):
    cdef Py_ssize_t at = 0, total = frames.shape[0], end, size, rows = 0
    cdef int column
    cdef const unsigned char* data
    if not total:
        return 0
    data = &frames[0]
    while at < total:
        end = row_end(data, at, total, columns)
        at += 7
        for column in range(columns):
            size = cell_size(data, at, end)
            at += 4 + (size if size > 0 else 0)
        if at != end:
            raise ValueError("DataRow trailing bytes")
        rows += 1
    return rows


cdef inline void put_length(unsigned char* data, Py_ssize_t length) noexcept nogil:
    data[0] = (length >> 24) & 0xFF
    data[1] = (length >> 16) & 0xFF
    data[2] = (length >> 8) & 0xFF
    data[3] = length & 0xFF


cdef int put_cell(Output* out, object value) except -1:
    """A replaced cell, length included."""
    cdef Py_ssize_t length
    if value is None:
        reserve(out, 4)
        put_length(out.data + out.size, -1)
        out.size += 4
        return 0
    if not PyBytes_CheckExact(value):
        raise TypeError("a cell becomes bytes or None")
    length = PyBytes_GET_SIZE(value)
    reserve(out, length + 4)
    put_length(out.data + out.size, length)
    memcpy(out.data + out.size + 4, PyBytes_AS_STRING(value), length)
    out.size += length + 4
    return 0


cdef inline int put_slice(Output* out, const unsigned char* data, Py_ssize_t begin, Py_ssize_t end) except -1:
    if end > begin:
        reserve(out, end - begin)
        memcpy(out.data + out.size, data + begin, end - begin)
        out.size += end - begin
    return 0


cdef struct Column:
    unsigned char kind  # 0 is not searched
    unsigned char what
    const unsigned char* constant  # with its length in front
    Py_ssize_t size

cdef enum:  # what becomes of a column's cells
    A_KEEP = 0
    A_CONSTANT = 1
    A_CALL = 2


cdef int read_columns(Column* columns, int count, tuple actions, bytes kinds, Output* constants) except -1:
    """`constants` has room for all of them."""
    cdef int index
    cdef Py_ssize_t begin
    cdef object action
    for index in range(count):
        action = None if actions is None else actions[index]
        columns[index].what = A_KEEP
        columns[index].kind = 0
        if action is None:
            columns[index].kind = kinds[index]
        elif action is True or PyBytes_CheckExact(action):
            begin = constants.size
            put_cell(constants, None if action is True else action)
            columns[index].what = A_CONSTANT
            columns[index].constant = constants.data + begin
            columns[index].size = constants.size - begin
        else:
            columns[index].what = A_CALL
    return 0


def sift_rows(bytes frames not None, tuple actions, list counts not None, bytes kinds not None, Sieve sieve not None):
    cdef Py_ssize_t at = 0, total = PyBytes_GET_SIZE(frames), end, size, head, copied, begin, room = 0
    cdef int index, width = <int>PyBytes_GET_SIZE(kinds), verdict
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(frames)
    cdef const unsigned char* cell
    cdef bint rewriting = actions is not None
    cdef Column* columns = NULL
    cdef Column* column
    cdef Py_ssize_t* masked = NULL
    cdef Output out, joined, constants, ends, found
    cdef Places places
    if len(counts) != width:
        raise ValueError("counts and kinds")
    if rewriting:
        if len(actions) != width:
            raise ValueError("actions and kinds")
        for action in actions:
            room += PyBytes_GET_SIZE(action) + 4 if PyBytes_CheckExact(action) else 4
    out.bytes = joined.bytes = constants.bytes = ends.bytes = found.bytes = NULL
    constants.data = ends.data = found.data = NULL
    out.size = constants.size = constants.room = 0
    ends.size = ends.room = found.size = found.room = 0
    places.data = NULL
    places.size = places.room = 0
    places.wanted = False
    try:
        columns = <Column*>realloc(NULL, (width + 1) * sizeof(Column))
        masked = <Py_ssize_t*>realloc(NULL, (width + 1) * sizeof(Py_ssize_t))
        if columns == NULL or masked == NULL:
            raise MemoryError()
        reserve(&constants, room)
        read_columns(columns, width, actions, kinds, &constants)
        for index in range(width):
            masked[index] = 0
        if rewriting:
            begin_bytes(&out, total + 64)
        begin_bytes(&joined, total + 64 if sieve.numbers & S_EVERYTHING else 256)
        while at < total:
            end = row_end(data, at, total, width)
            head = out.size
            copied = at
            at += 7
            for index in range(width):
                size = cell_size(data, at, end)
                if size >= 0:
                    column = &columns[index]
                    cell = data + at + 4
                    if column.what:
                        masked[index] += 1
                        put_slice(&out, data, copied, at)
                        if column.what == A_CONSTANT:
                            put_slice(&out, column.constant, 0, column.size)
                        else:
                            put_cell(&out, actions[index](PyBytes_FromStringAndSize(<char*>cell, size)))
                        copied = at + 4 + size
                    elif column.kind and size:
                        verdict = FOLDED
                        if is_text(column.kind):
                            verdict = sieve.look(cell, size, True)
                        if verdict:
                            begin = joined.size
                            if verdict == FOLDED or not put_plain(&joined, cell, size):
                                put_views(&joined, &places, cell, size, column.kind, None)
                                if not sieve.look(joined.data + begin, joined.size - begin, False):
                                    verdict = CLEAN
                                    joined.size = begin
                            if verdict:
                                put_found(&ends, &found, joined.size,
                                          out.size + at - copied if rewriting else at, index)
                    at += size
                at += 4
            if at != end:
                raise ValueError("DataRow trailing bytes")
            if rewriting:
                put_slice(&out, data, copied, end)
                put_length(out.data + head + 1, out.size - head - 1)
        if rewriting:
            for index in range(width):
                if masked[index]:
                    counts[index] += masked[index]
            frames = finish_bytes(&out)
        return frames, finish_bytes(&joined), memoryview(taken(&ends)).cast("i"), memoryview(taken(&found)).cast("i")
    finally:
        drop_bytes(&out)
        drop_bytes(&joined)
        free(ends.data)
        free(found.data)
        free(constants.data)
        free(places.data)
        free(columns)
        free(masked)


cdef inline bytes taken(Output* out):
    return PyBytes_FromStringAndSize(<char*>out.data, out.size)


cdef inline int put_found(Output* ends, Output* found, Py_ssize_t end, Py_ssize_t at, int column) except -1:
    cdef int32_t* numbers
    if end > 0x7FFFFFFF or at > 0x7FFFFFFF:
        raise ValueError("more than 2 GiB at once")
    reserve(ends, 4)
    reserve(found, 8)
    (<int32_t*>(ends.data + ends.size))[0] = <int32_t>end
    numbers = <int32_t*>(found.data + found.size)
    numbers[0] = <int32_t>at
    numbers[1] = column
    ends.size += 4
    found.size += 8
    return 0


cdef inline bint is_text(unsigned char kind) noexcept nogil:
    """What is plain is its own only view."""
    return kind == K_TEXT or kind == K_JSON or kind == K_BYTEA or kind == K_OPAQUE


cdef inline int put_plain(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    """The view of a plain cell, ended by NUL, in one pass; 0 where it is not plain, and then nothing is put."""
    cdef uint64_t word, unlike = 0
    cdef unsigned char* data
    cdef Py_ssize_t at = 0
    reserve(out, size + 1)
    data = out.data + out.size
    while at + 8 <= size:
        word = word_at(cell + at)
        unlike |= (word | equal(word & LOW, ONES * 0x5C)) & HIGH
        memcpy(data + at, cell + at, 8)
        at += 8
    while at < size:
        unlike |= cell[at] & 0x80 or cell[at] == 0x5C
        data[at] = cell[at]
        at += 1
    if unlike:
        return 0
    data[size] = 0
    out.size += size + 1
    return 1


def replace_cells(const unsigned char[::1] frames, list edits):
    cdef Py_ssize_t at = 0, total = frames.shape[0], end, head, copied, offset, size
    cdef Py_ssize_t index = 0, count = len(edits)
    cdef const unsigned char* data
    cdef Output out
    if not total:
        return b""
    data = &frames[0]
    out.bytes = NULL
    try:
        begin_bytes(&out, total + 64)
        while at < total:
            if total - at < 7:
                raise ValueError("no whole DataRow")
            size = <Py_ssize_t><unsigned int>big32(data + at + 1)
            if size < 6 or size > total - at - 1:
                raise ValueError("DataRow length")
            end = at + 1 + size
            head = out.size
            copied = at
            while index < count:
                offset = edits[index][0]
                if offset >= end:
                    break
                if offset < copied + (7 if copied == at else 0):
                    raise ValueError("edits out of order")
                size = cell_size(data, offset, end)
                put_slice(&out, data, copied, offset)
                put_cell(&out, edits[index][1])
                copied = offset + 4 + (size if size > 0 else 0)
                index += 1
            put_slice(&out, data, copied, end)
            put_length(out.data + head + 1, out.size - head - 1)
            at = end
        return finish_bytes(&out)
    finally:
        drop_bytes(&out)


# --- records ----------------------------------------------------------------------------------------------------------


cdef inline Py_ssize_t put_decimal(unsigned char* data, unsigned long long value) noexcept nogil:
    cdef unsigned char digits[20]
    cdef int count = 0, index
    while True:
        digits[count] = 48 + <unsigned char>(value % 10)
        count += 1
        value //= 10
        if not value:
            break
    for index in range(count):
        data[index] = digits[count - 1 - index]
    return count


cdef inline Py_ssize_t put_text(unsigned char* data, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(data, text, size)
    return size


cdef inline Py_ssize_t put_hex(unsigned char* data, const unsigned char* digest, Py_ssize_t size) noexcept nogil:
    cdef const char* digits = "0123456789abcdef"
    cdef Py_ssize_t index
    for index in range(size):
        data[2 * index] = digits[digest[index] >> 4]
        data[2 * index + 1] = digits[digest[index] & 15]
    return 2 * size


def record_header(bytes prefix, unsigned long long seq, bytes kind, unsigned long long time, bytes previous,
                  bytes commitment):
    cdef Py_ssize_t first = PyBytes_GET_SIZE(prefix), named = PyBytes_GET_SIZE(kind)
    cdef Py_ssize_t before = PyBytes_GET_SIZE(previous), content = PyBytes_GET_SIZE(commitment), size
    cdef Py_ssize_t room = first + named + 2 * before + 2 * content + 100
    cdef unsigned char* data = <unsigned char*>malloc(room)
    if data == NULL:
        raise MemoryError()
    try:
        size = put_text(data, PyBytes_AS_STRING(prefix), first)
        size += put_decimal(data + size, seq)
        size += put_text(data + size, b',"kind":"', 9)
        size += put_text(data + size, PyBytes_AS_STRING(kind), named)
        size += put_text(data + size, b'","time":', 9)
        size += put_decimal(data + size, time)
        size += put_text(data + size, b',"previous":"', 13)
        size += put_hex(data + size, <const unsigned char*>PyBytes_AS_STRING(previous), before)
        size += put_text(data + size, b'","commitment":"', 16)
        size += put_hex(data + size, <const unsigned char*>PyBytes_AS_STRING(commitment), content)
        size += put_text(data + size, b'"}', 2)
        return PyBytes_FromStringAndSize(<char*>data, size)
    finally:
        free(data)


cdef inline void put_little(unsigned char* data, unsigned int value) noexcept nogil:
    data[0] = value & 0xFF
    data[1] = (value >> 8) & 0xFF
    data[2] = (value >> 16) & 0xFF
    data[3] = (value >> 24) & 0xFF


def record_frame(bytes header, bytes sealed):
    cdef Py_ssize_t first = PyBytes_GET_SIZE(header), second = PyBytes_GET_SIZE(sealed)
    cdef Py_ssize_t size = 3 + first + second
    cdef bytes frame
    cdef unsigned char* data
    if first > 0xFFFF:
        raise OverflowError("header length")
    frame = PyBytes_FromStringAndSize(NULL, 8 + size)
    data = <unsigned char*>PyBytes_AS_STRING(frame)
    data[8] = 0x52
    data[9] = first & 0xFF
    data[10] = (first >> 8) & 0xFF
    memcpy(data + 11, PyBytes_AS_STRING(header), first)
    memcpy(data + 11 + first, PyBytes_AS_STRING(sealed), second)
    put_little(data, <unsigned int>size)
    put_little(data + 4, <unsigned int>crc32(PyMemoryView_FromMemory(<char*>data + 8, size, PyBUF_READ)))
    return frame


def seal_record(bytes prefix, unsigned long long seq, bytes kind, unsigned long long time, bytes previous,
                bytes plaintext, sha256, encrypt):
    cdef unsigned char nonce[12]
    cdef int index
    cdef bytes header = record_header(prefix, seq, kind, time, previous, sha256(plaintext).digest())
    for index in range(12):
        nonce[index] = 0 if index < 4 else (seq >> (8 * (11 - index))) & 0xFF
    sealed = encrypt(PyBytes_FromStringAndSize(<char*>nonce, 12), plaintext, None)
    return record_frame(header, sealed), sha256(header).digest()


# --- exchanges --------------------------------------------------------------------------------------------------------

cdef bytes DESCRIBE_PORTAL = b"D\x00\x00\x00\x06P\x00"
cdef bytes EXECUTE_SYNC = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00S\x00\x00\x00\x04"
cdef enum:
    LONGEST_EXCHANGE = 4096


cdef Py_ssize_t put_skeleton(unsigned char* out, const unsigned char* text, Py_ssize_t size) noexcept nogil:
    """-1: it has none. `out` has room for `size` bytes."""
    cdef Py_ssize_t at = 0, end, written = 0
    cdef unsigned char c, before
    while at < size:
        c = text[at]
        if c == 0x27 or c == 0x22 or c == 0x60 or c == 0x24 or c == 0x5C or c == 0x3B:
            return -1
        if (c < 0x20 and c != 0x09 and c != 0x0A and c != 0x0D) or c > 0x7E:
            return -1
        if at + 1 < size and ((c == 0x2D and text[at + 1] == 0x2D) or (c == 0x2F and text[at + 1] == 0x2A)):
            return -1
        if 48 <= c <= 57 and at > 0:
            before = text[at - 1]
            if before == 0x20 or before == 0x09 or before == 0x0A or before == 0x0D or before == 0x3D \
                    or before == 0x3C or before == 0x3E or before == 0x28 or before == 0x2C:
                end = at + 1
                while end < size and 48 <= text[end] <= 57:
                    end += 1
                if end - at <= 18 and (
                    end == size or text[end] == 0x20 or text[end] == 0x09 or text[end] == 0x0A or text[end] == 0x0D
                    or text[end] == 0x29 or text[end] == 0x2C
                ):
                    out[written] = 48
                    written += 1
                    at = end
                    continue
        out[written] = c
        written += 1
        at += 1
    return written


def skeleton(bytes text):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text), written
    cdef unsigned char* out = <unsigned char*>malloc(size + 1)
    if out == NULL:
        raise MemoryError()
    try:
        written = put_skeleton(out, <const unsigned char*>PyBytes_AS_STRING(text), size)
        return None if written < 0 else PyBytes_FromStringAndSize(<char*>out, written)
    finally:
        free(out)


cdef object query_key(const unsigned char* data, Py_ssize_t total):
    cdef unsigned char out[LONGEST_EXCHANGE]
    cdef Py_ssize_t end, written
    if <Py_ssize_t><unsigned int>big32(data + 1) != total - 1 or memchr(data + 5, 0, total - 5) != data + total - 1:
        return None
    end = total - 2 if data[total - 2] == 0x3B else total - 1
    written = put_skeleton(out + 1, data + 5, end - 5)
    if written < 0:
        return b"q" + PyBytes_FromStringAndSize(<char*>data + 5, total - 6), []
    out[0] = 0x51
    if end < total - 1:
        out[1 + written] = 0x3B
        written += 1
    return PyBytes_FromStringAndSize(<char*>out, 1 + written), []


def exchange_key(bytes batch):
    cdef Py_ssize_t total = PyBytes_GET_SIZE(batch), at = 0, size, end, name, count_at, position, length, kept
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(batch)
    cdef const void* found
    cdef int formats, count, index
    cdef list parameters
    cdef bytes key
    cdef char* out
    if 6 <= total <= LONGEST_EXCHANGE and data[0] == 0x51:
        return query_key(data, total)
    if total < 22 or total > LONGEST_EXCHANGE or memcmp(data + total - 15, PyBytes_AS_STRING(EXECUTE_SYNC), 15) != 0:
        return None
    if data[0] == 0x50:
        size = <Py_ssize_t><unsigned int>big32(data + 1)
        if size > total - 1:
            return None
        at = 1 + size
    if total - at < 22 or data[at] != 0x42:
        return None
    size = <Py_ssize_t><unsigned int>big32(data + at + 1)
    end = at + 1 + size
    if size < 12 or end > total - 15:
        return None
    if end != total - 15 and (
        end != total - 22 or memcmp(data + end, PyBytes_AS_STRING(DESCRIBE_PORTAL), 7) != 0
    ):
        return None
    if data[at + 5] != 0:
        return None
    found = memchr(data + at + 6, 0, end - at - 6)
    if found == NULL:
        return None
    name = <const unsigned char*>found - data
    if end - name < 5:
        return None
    formats = big16(data + name + 1) & 0xFFFF
    count_at = name + 3 + 2 * formats
    if formats > 0x7FFF or end - count_at < 2:
        return None
    count = big16(data + count_at) & 0xFFFF
    if count > 0x7FFF:
        return None
    position = count_at + 2
    parameters = []
    for index in range(count):
        if end - position < 4:
            return None
        length = big32(data + position)
        position += 4
        if length == -1:
            parameters.append(None)
            continue
        if length < 0 or length > end - position:
            return None
        parameters.append(PyBytes_FromStringAndSize(<char*>data + position, length))
        position += length
    if end - position < 2 or end - position != 2 + 2 * <Py_ssize_t>(big16(data + position) & 0xFFFF):
        return None
    kept = count_at + 2 - (at + 5)
    key = PyBytes_FromStringAndSize(NULL, at + 1 + kept + total - position)
    out = PyBytes_AS_STRING(key)
    memcpy(out, data, at + 1)
    memcpy(out + at + 1, data + at + 5, kept)
    memcpy(out + at + 1 + kept, data + position, total - position)
    return key, parameters


def exchange_reply(bytes reply, bytes opening, int columns):
    cdef Py_ssize_t total = PyBytes_GET_SIZE(reply), at = PyBytes_GET_SIZE(opening), size, end, position, length
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(reply)
    cdef Py_ssize_t rows = 0
    cdef int count, index
    if total < at or memcmp(data, PyBytes_AS_STRING(opening), at) != 0:
        return None
    while total - at >= 7 and data[at] == 0x44:
        size = <Py_ssize_t><unsigned int>big32(data + at + 1)
        end = at + 1 + size
        if size < 6 or end > total:
            return None
        count = big16(data + at + 5) & 0xFFFF
        if columns < 0:
            columns = count
        if count != columns:
            return None
        position = at + 7
        for index in range(count):
            if end - position < 4:
                return None
            length = big32(data + position)
            position += 4
            if length < -1 or length > end - position:
                return None
            if length > 0:
                position += length
        if position != end:
            return None
        rows += 1
        at = end
    if total - at < 12 or data[at] != 0x43:
        return None
    size = <Py_ssize_t><unsigned int>big32(data + at + 1)
    end = at + 1 + size
    if size < 5 or end != total - 6 or data[end - 1] != 0 or memchr(data + at + 5, 0, end - 1 - at - 5) != NULL:
        return None
    if memcmp(data + end, b"Z\x00\x00\x00\x05", 5) != 0 or data[end + 5] not in (0x49, 0x54, 0x45):
        return None
    return at, rows, PyBytes_FromStringAndSize(<char*>data + at + 5, end - 1 - at - 5), data[end + 5]
