"""The QGIS form of the points to interpret, as text: class and confidence from a list."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

CONFIDENCE = ("high", "medium", "low")


def form_qml(classes: Sequence[str]) -> str:
    """A style that changes no colour: only how the fields of a point are filled in."""
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28" styleCategories="Forms">
  <fieldConfiguration>
{_choice("class", classes)}
{_choice("confidence", CONFIDENCE)}
  </fieldConfiguration>
  <editable>
    <field name="id" editable="0"/>
  </editable>
</qgis>
"""


def _choice(field: str, values: Sequence[str]) -> str:
    options = "\n".join(
        f"""              <Option type="Map">
                <Option name={quoteattr(value)} type="QString" value={quoteattr(value)}/>
              </Option>"""
        for value in values
    )
    return f"""    <field name="{field}">
      <editWidget type="ValueMap">
        <config>
          <Option type="Map">
            <Option name="map" type="List">
{options}
            </Option>
          </Option>
        </config>
      </editWidget>
    </field>"""
