import re

from multiedge.serving.seeing.pages import CONTENT_SECURITY_POLICY, INDEX, page_files


def test_every_file_that_the_page_names_is_there() -> None:
    files = page_files()
    named = re.findall(r'(?:href|src)="live/([^"]+)"', files[INDEX].content.decode())
    imported = re.findall(r'from "\./([^"]+)"', files["live.js"].content.decode())
    assert set(named + imported) | {INDEX} == set(files)


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in page_files().values():
        assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", file.content)
    assert "unsafe" not in CONTENT_SECURITY_POLICY
